"""Warnings of relays, as words for the SipGateway's condition and as Events on the lane.

Without a SipGateway there is no condition, but everybody sees the lane.
"""

from collections.abc import Iterable
from typing import Final

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.operator.apply import Applier
from sipgw.operator.checks import MAX_MESSAGE
from sipgw.operator.conditions import relays_together
from sipgw.operator.resources.events import Subject, subject_of_lane
from sipgw.operator.resources.stateful_sets import Lane
from sipgw.operator.spread import Together

_TOGETHER_FOR_S: Final = 30.0
"""The delay before the warning: while relays start, roll and go they may share a node for a moment."""


class RelayWarnings:
    """Remembers reported warnings: each is reported once per lane, for as long as a relay has it."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()
        self._together_since: float | None = None

    async def tell(self, applier: Applier, relays: Iterable[pb.Relay], lanes: Iterable[Lane]) -> None:
        """Report new warnings."""
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

    async def tell_together(
        self, applier: Applier, found: Together | None, subject: Subject | None, now: float
    ) -> None:
        """Report that all relays share a node or a zone, after a while. The EventLog repeats it seldom."""
        self._together_since = None if found is None else self._together_since or now
        if self._together_since is not None and now - self._together_since >= _TOGETHER_FOR_S:
            condition = relays_together(found)
            await applier.tell(subject, condition.type, condition.message, is_warning=True)


def in_words(relays: Iterable[pb.Relay]) -> str:
    """Return each warning once, with the relays that have it."""
    who: dict[str, list[str]] = {}
    for relay in relays:
        for warning in relay.registration.warnings:
            who.setdefault(warning, []).append(relay.registration.relay.name)
    lines = [
        f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}: {warning}"
        for warning, names in who.items()
    ]
    return "; ".join(lines)[:MAX_MESSAGE]
