"""Read the present state: custom resources and their references, the lanes, the registry's knowledge."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.control import RegistryClient, RegistryRefused, RegistryUnreachable
from sipgw.operator.errors import KubeForbidden
from sipgw.operator.fleet import GoneRelay, Observed, RelayState
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.resources import paths
from sipgw.operator.resources.documents import secrets_wanted
from sipgw.operator.resources.json_parts import Json
from sipgw.operator.resources.nodes import Node, Placing, node_states, read_node
from sipgw.operator.resources.stateful_sets import (
    Lane,
    edge_selector,
    outdated_pods,
    pods_asked,
    read_lanes,
    selector,
)
from sipgw.operator.spread import number_of


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects written by users."""

    documents: tuple[Json, ...] = ()
    secrets: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Lanes:
    """The StatefulSets of the relays, and their pods with an old template."""

    lanes: tuple[Lane, ...] = ()
    outdated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RegistryView:
    """The registry's knowledge; with a `problem` none of it counts."""

    problem: str = ""
    config: GatewayConfig | None = None
    relays: tuple[pb.Relay, ...] = ()
    counts: pb.CountCallsResponse = field(default_factory=pb.CountCallsResponse)
    edges: int = 0


async def read_edges_asked(client: KubeClient, namespace: str, release: str) -> int:
    """Return how many edges the release's Deployment or DaemonSet asks for. Raises KubeError."""
    labels = edge_selector(release)
    found = await asyncio.gather(*(client.list(path, labels=labels) for path in paths.edge_sets(namespace)))
    return sum(pods_asked(body) for bodies in found for body in bodies)


async def read_objects(client: KubeClient, namespace: str) -> Objects:
    """List the objects, at each pass, so that none is missed as by a watch. Raises KubeError."""
    listed = await asyncio.gather(*(_list_kind(client, namespace, kind) for kind in paths.PLURALS))
    documents = tuple(body for bodies in listed for body in bodies)
    names = secrets_wanted(documents)
    found = await asyncio.gather(*(client.get(paths.secrets(namespace, name)) for name in names))
    secrets = tuple({**body, "apiVersion": "v1", "kind": "Secret"} for body in found if body is not None)
    return Objects(documents, secrets)


async def read_lane_sets(client: KubeClient, namespace: str, release: str) -> Lanes:
    """Return the lanes; read the pods only while a new template is rolled out.

    Raises KubeError.
    """
    labels = selector(release)
    lanes = read_lanes(await client.list(paths.stateful_sets(namespace), labels=labels), release)
    if all(lane.is_current for lane in lanes):
        return Lanes(lanes)
    pods = await client.list(paths.pods(namespace), labels=labels)
    return Lanes(lanes, outdated_pods(pods, lanes))


async def read_registry(registry: RegistryClient) -> RegistryView:
    """Read the registry. Never raises when it is away."""
    try:
        config, relays, counts, edges = await asyncio.gather(
            registry.get_config(), registry.list_relays(), registry.count_calls(), registry.list_edges()
        )
    except (RegistryUnreachable, RegistryRefused) as error:
        return RegistryView(problem=str(error))
    return RegistryView("", config, tuple(relays), counts, len(edges))


def observed(view: RegistryView, lanes: Lanes, nodes: Iterable[Node] = ()) -> Observed:
    """Return the input of the plan: relays by number, with heartbeats now or until lately."""
    count = len(lanes.lanes)
    relays: dict[int, RelayState] = {}
    gone: dict[int, GoneRelay] = {}
    for relay in view.relays:
        registration = relay.registration
        if registration.lane >= count:
            continue
        number = number_of(registration.lane, registration.ordinal, count)
        if not relay.healthy:
            gone[number] = GoneRelay(registration.node, was_draining=relay.draining)
            continue
        relays[number] = RelayState(
            name=registration.relay.name,
            capacity_units=registration.capacity_units,
            used_units=relay.used_units,
            calls=relay.calls,
            ports_free=relay.ports_free,
            is_draining=relay.draining,
            is_drain_requested=relay.drain_requested,
            is_outdated=registration.relay.name in lanes.outdated,
            node=registration.node,
            is_full=relay.full,
        )
    beating = {relay.name for relay in relays.values()}
    return Observed(
        replicas=tuple(lane.replicas for lane in lanes.lanes),
        relays=relays,
        gone={number: one for number, one in gone.items() if number not in relays},
        nodes=node_states(nodes, lanes.lanes[0].placing if lanes.lanes else Placing()),
        setups_per_s=view.counts.setups_per_s,
        outdated_silent=lanes.outdated - beating,
        is_rolling=bool(lanes.outdated),
    )


async def _list_kind(client: KubeClient, namespace: str, kind: str) -> Sequence[Json]:
    bodies = await client.list(paths.documents(namespace, kind))
    api_version = f"{paths.GROUP}/{paths.VERSION}"
    return [
        {**body, "apiVersion": api_version, "kind": kind}
        for body in bodies
        if not body["metadata"].get("deletionTimestamp")
    ]


async def read_nodes(client: KubeClient) -> tuple[Node, ...]:
    """Return the nodes; none where they may not be read. Raises KubeError."""
    try:
        return tuple(await client.list(paths.NODES, read=read_node))
    except KubeForbidden:
        return ()  # logged once at the start; pods then advertise their own host's address
