"""Nodes: the small part of a large object that we use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sipgw.operator.resources.json_parts import Json, part, parts
from sipgw.operator.spread import NodeState

ZONE_LABEL: Final = "topology.kubernetes.io/zone"
_TYPES: Final = {"HostIP": "InternalIP", "ExternalIP": "ExternalIP"}
_KEEP_OFF: Final = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `addresses`: type to address; `taints`: those that keep pods off, as (key, value, effect)."""

    name: str
    addresses: Mapping[str, str] = field(default_factory=dict[str, str])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    taints: frozenset[tuple[str, str, str]] = frozenset()
    is_ready: bool = True
    is_cordoned: bool = False

    @property
    def zone(self) -> str:
        return self.labels.get(ZONE_LABEL, "")


@dataclass(frozen=True, slots=True)
class Placing:
    """The rules of a pod template for where its pods may run, as far as we read them."""

    node_selector: Mapping[str, str] = field(default_factory=dict[str, str])
    tolerations: tuple[Json, ...] = ()


def read_node(body: Json) -> Node:
    """Read a node, with the first address of each type. One without a readiness condition is not ready."""
    metadata, spec, status = body["metadata"], part(body, "spec"), part(body, "status")
    return Node(
        name=str(metadata["name"]),
        addresses={str(one["type"]): str(one["address"]) for one in reversed(parts(status, "addresses"))},
        labels={str(key): str(value) for key, value in part(metadata, "labels").items()},
        taints=frozenset(
            (str(one.get("key") or ""), str(one.get("value") or ""), str(one.get("effect")))
            for one in parts(spec, "taints")
            if one.get("effect") in _KEEP_OFF
        ),
        is_ready=any(
            one.get("type") == "Ready" and one.get("status") == "True" for one in parts(status, "conditions")
        ),
        is_cordoned=bool(spec.get("unschedulable")),
    )


def read_placing(template: Json) -> Placing:
    """Read the rules of a pod template."""
    spec = part(template, "spec")
    selector = {str(key): str(value) for key, value in part(spec, "nodeSelector").items()}
    return Placing(selector, tuple(parts(spec, "tolerations")))


def advertised_addresses(nodes: Iterable[Node], policy: str) -> dict[str, str]:
    """Map node to address by the policy. Without such an address the node's pods use their own."""
    type_ = _TYPES[policy]
    return {node.name: node.addresses[type_] for node in nodes if type_ in node.addresses}


def node_states(nodes: Iterable[Node], placing: Placing) -> dict[str, NodeState]:
    """Return the nodes for the plan. Affinities and free CPU are left to the scheduler."""
    return {node.name: NodeState(node.zone, takes_relays=_takes(node, placing)) for node in nodes}


def _takes(node: Node, placing: Placing) -> bool:
    return (
        node.is_ready
        and not node.is_cordoned
        and placing.node_selector.items() <= node.labels.items()
        and all(any(_tolerates(one, taint) for one in placing.tolerations) for taint in node.taints)
    )


def _tolerates(toleration: Json, taint: tuple[str, str, str]) -> bool:
    key, value, effect = taint
    if toleration.get("effect") not in {None, "", effect}:
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in {None, "", key}
    return toleration.get("key") == key and (toleration.get("value") or "") == value
