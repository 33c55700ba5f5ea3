"""Events: reports for people, on the object that they will `kubectl describe`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sipgw.operator.resources.json_parts import Json
from sipgw.operator.resources.stateful_sets import Lane

COMPONENT: Final = "sipgw-operator"
_MAX_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """The object an event is about."""

    api_version: str
    kind: str
    name: str
    uid: str = ""


def subject_of(body: Json) -> Subject:
    """Return an object as the subject of events."""
    return Subject(
        body["apiVersion"], body["kind"], body["metadata"]["name"], body["metadata"].get("uid", "")
    )


def subject_of_lane(lane: Lane) -> Subject:
    """Return a lane's StatefulSet as the subject of events."""
    return Subject("apps/v1", "StatefulSet", lane.name, lane.uid)


def subject_of_relay(relay: str, lanes: Iterable[Lane]) -> Subject | None:
    """Return the lane of the relay with that name."""
    name = relay.rpartition("-")[0]
    return next((subject_of_lane(lane) for lane in lanes if lane.name == name), None)


def event_manifest(
    subject: Subject, namespace: str, reason: str, message: str, *, now: str, is_warning: bool
) -> Json:
    """Return a core/v1 Event."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{subject.name}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "name": subject.name,
            "namespace": namespace,
            **({"uid": subject.uid} if subject.uid else {}),
        },
        "reason": reason,
        "message": message[:_MAX_MESSAGE],
        "type": "Warning" if is_warning else "Normal",
        "source": {"component": COMPONENT},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
