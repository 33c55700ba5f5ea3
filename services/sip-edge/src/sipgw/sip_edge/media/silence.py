"""Decide when a relay or edge has been silent for too long (ADR 0006). No I/O: the caller gives the time.

Silence counts only while this edge listened: a turn of its loop that comes late counts as one turn. While all
others are silent as well, the fault is more likely in this machine or its network. Such shared silence is
counted apart, has a longer limit, and is forgotten as soon as one of the others is heard. Relays already
known to be silent are left out of the comparison.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

SUSPECT_AFTER_S: Final = 0.4
"""Two pings not returned: such a relay is left out of the comparison."""
SHARED_FACTOR: Final = 3.0
"""How much longer the limit is while no relay is heard."""

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(slots=True)
class _Listened:
    """The silence counted against one relay."""

    heard_at: float
    alone_s: float = 0.0
    """Silence while another relay was heard, or there was none to compare with."""
    shared_s: float = 0.0
    """Silence while every other relay was suspect too."""
    is_pardoned: bool = False
    """Its silence before another's return has been forgiven once."""

    @property
    def total_s(self) -> float:
        return self.alone_s + self.shared_s

    @property
    def is_suspect(self) -> bool:
        return self.total_s > SUSPECT_AFTER_S


class SilenceJudge(Generic[KeyT]):
    """Call `observe` once per turn of the loop, every `turn_s`."""

    def __init__(self, limit_s: float, turn_s: float) -> None:
        self._limit_s = limit_s
        self._turn_s = turn_s
        self._relays: dict[KeyT, _Listened] = {}
        self._observed_at: float | None = None

    def silence_s(self, relay: KeyT) -> float:
        """Give the seconds of silence counted against a relay."""
        listened = self._relays.get(relay)
        return listened.total_s if listened is not None else 0.0

    @property
    def suspects(self) -> set[KeyT]:
        """The relays that have not returned two pings or more."""
        return {relay for relay, listened in self._relays.items() if listened.is_suspect}

    def observe(self, heard_at: Mapping[KeyT, float], now: float) -> set[KeyT]:
        """Give the relays that have been silent for too long.

        `heard_at`: when each relay was last heard, by the clock of `now`. A relay that is not in it is
        forgotten.
        """
        last, self._observed_at = self._observed_at, now
        elapsed_s = min(max(0.0, now - last), self._turn_s) if last is not None else 0.0
        returned = self._note_heard(heard_at, now)
        suspects = self.suspects
        for relay, listened in self._relays.items():
            if relay not in returned:
                self._count(relay, listened, suspects, elapsed_s)
        return {relay for relay, listened in self._relays.items() if self._is_too_long(listened)}

    def _note_heard(self, heard_at: Mapping[KeyT, float], now: float) -> set[KeyT]:
        """Give the relays heard since the last turn.

        A suspect's return clears the shared silence of others.
        """
        for gone in self._relays.keys() - heard_at.keys():
            del self._relays[gone]
        returned: set[KeyT] = set()
        was_shared = False
        for relay, at in heard_at.items():
            listened = self._relays.get(relay)
            if listened is None or at > listened.heard_at:
                was_shared = was_shared or (listened is not None and listened.is_suspect)
                self._relays[relay] = _Listened(at, alone_s=min(max(0.0, now - at), self._turn_s))
                returned.add(relay)
        if was_shared:
            for listened in self._relays.values():
                self._pardon(listened)
        return returned

    def _pardon(self, listened: _Listened) -> None:
        """Forgive shared silence, and once also the rest.

        If the rest were forgiven more often, relays that come and go would keep the calls of a dead relay on
        it.
        """
        listened.shared_s = 0.0
        if not listened.is_pardoned:
            listened.is_pardoned = True
            listened.alone_s = min(listened.alone_s, SUSPECT_AFTER_S / 2)

    def _count(self, relay: KeyT, listened: _Listened, suspects: set[KeyT], elapsed_s: float) -> None:
        others = {one for one, state in self._relays.items() if one != relay and not self._is_too_long(state)}
        if others and others <= suspects:
            listened.shared_s += elapsed_s
        else:
            listened.alone_s += elapsed_s

    def _is_too_long(self, listened: _Listened) -> bool:
        limit_s = self._limit_s - self._turn_s / 2  # decide at the turn nearest to the limit
        return listened.alone_s > limit_s or listened.total_s > SHARED_FACTOR * limit_s
