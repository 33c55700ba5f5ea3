"""The lanes: one StatefulSet of relays each. Relay number i is lane i % L, ordinal i // L."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sipgw.operator.resources.json_parts import Json, part
from sipgw.operator.resources.nodes import Placing, read_placing

REVISION_LABEL: Final = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class Lane:
    """One StatefulSet. `is_current`: every pod has the newest template."""

    name: str
    replicas: int
    update_revision: str
    is_current: bool
    uid: str
    placing: Placing = field(default_factory=Placing)


def lane_name(release: str, lane: int) -> str:
    """Return the name of a lane's StatefulSet."""
    return f"{release}-relay-{lane}"


def selector(release: str) -> str:
    """Return the selector of StatefulSets and pods of relays."""
    return f"app.kubernetes.io/instance={release},app.kubernetes.io/component=relay"


def edge_selector(release: str) -> str:
    """Return the selector of the sets of edges."""
    return f"app.kubernetes.io/instance={release},app.kubernetes.io/component=edge"


def pods_asked(body: Json) -> int:
    """Return how many pods a Deployment, or a DaemonSet, asks for."""
    scheduled: object = part(body, "status").get("desiredNumberScheduled")
    return int(body["spec"].get("replicas", 1)) if scheduled is None else int(str(scheduled))


def read_lane(body: Json) -> Lane:
    """Read a StatefulSet."""
    status = part(body, "status")
    replicas = int(body["spec"].get("replicas", 1))
    # With OnDelete `currentRevision` never changes: use the count of updated pods.
    return Lane(
        name=str(body["metadata"]["name"]),
        replicas=replicas,
        update_revision=str(status.get("updateRevision") or ""),
        uid=str(body["metadata"].get("uid") or ""),
        placing=read_placing(part(body["spec"], "template")),
        is_current=int(status.get("updatedReplicas") or 0) >= int(status.get("replicas") or 0),
    )


def read_lanes(bodies: Iterable[Json], release: str) -> tuple[Lane, ...]:
    """Return lanes 0 to L-1; those after a gap are not the chart's and left out."""
    by_name = {str(body["metadata"]["name"]): body for body in bodies}
    lanes: list[Lane] = []
    while (body := by_name.get(lane_name(release, len(lanes)))) is not None:
        lanes.append(read_lane(body))
    return tuple(lanes)


def outdated_pods(pods: Iterable[Json], lanes: Iterable[Lane]) -> frozenset[str]:
    """Return pods of an old template that are not ending already."""
    wanted: Mapping[str, str] = {lane.name: lane.update_revision for lane in lanes}
    outdated: set[str] = set()
    for pod in pods:
        metadata = pod["metadata"]
        name = str(metadata["name"])
        revision = part(metadata, "labels").get(REVISION_LABEL)
        target = wanted.get(name.rpartition("-")[0])
        if target and revision != target and not metadata.get("deletionTimestamp"):
            outdated.add(name)
    return frozenset(outdated)


def scale_manifest(name: str, namespace: str, replicas: int) -> Json:
    """Return the body for the scale subresource."""
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas},
    }


def eviction_manifest(pod: str, namespace: str) -> Json:
    """Ask the apiserver to end a pod as far as its disruption budget allows."""
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    }
