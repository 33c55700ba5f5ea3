"""What relays complain of: in words for the SipGateway, and as an Event on the lane, where everybody sees it.

A gateway with no documents has no SipGateway to show a condition.
"""

from collections.abc import Iterable

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.operator.apply import Applier
from sipgw.operator.checks import MAX_MESSAGE
from sipgw.operator.resources.events import subject_of_lane
from sipgw.operator.resources.stateful_sets import Lane


class RelayWarnings:
    """Remembers what it told: each warning once of each lane, for as long as a relay has it."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    async def tell(self, applier: Applier, relays: Iterable[pb.Relay], lanes: Iterable[Lane]) -> None:
        """What is new."""
        subjects = {lane.name: subject_of_lane(lane) for lane in lanes}
        found = {
            (lane, warning): relay.registration.relay.name
            for relay in relays
            if relay.healthy and (lane := relay.registration.relay.name.rpartition("-")[0]) in subjects
            for warning in relay.registration.warnings
        }
        self._told.intersection_update(found)
        for (lane, warning), name in found.items():
            if (lane, warning) not in self._told and await applier.tell(
                subjects[lane], "RelayWarning", f"relay {name}: {warning}", is_warning=True
            ):
                self._told.add((lane, warning))


def in_words(relays: Iterable[pb.Relay]) -> str:
    """Each warning once, with those that say it."""
    who: dict[str, list[str]] = {}
    for relay in relays:
        for warning in relay.registration.warnings:
            who.setdefault(warning, []).append(relay.registration.relay.name)
    lines = [
        f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}: {warning}"
        for warning, names in who.items()
    ]
    return "; ".join(lines)[:MAX_MESSAGE]
