"""Bans of sources.

A source that misbehaves again is banned for twice as long. Bounded memory; the caller gives the time.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from sipgw.sip_edge.guard.budgets import Rate
from sipgw.sip_edge.limits import BanLimits


@dataclass(slots=True)
class Ban:
    """A source that is banned from `since` until `until`."""

    source: str
    reason: str
    since: float
    until: float
    elsewhere: Rate
    challenges: Rate
    refused: int = field(default=0)
    """Datagrams dropped since the ban began."""

    def note_refused(self) -> None:
        """Count a datagram that was dropped."""
        self.refused += 1


class BanList:
    """The bans in force, and those that ended lately."""

    def __init__(self, limits: BanLimits) -> None:
        self._limits = limits
        self._bans: OrderedDict[str, Ban] = OrderedDict()

    def of(self, source: str, now: float) -> Ban | None:
        """Give the ban in force for a source; None: it is not banned."""
        ban = self._bans.get(source)
        return ban if ban is not None and now < ban.until else None

    def ban(self, source: str, reason: str, now: float) -> Ban:
        """Ban a source, for twice as long as the last time."""
        limits = self._limits
        last = self._bans.pop(source, None)
        length_s = limits.first_s
        if last is not None and now - last.until < limits.forgotten_s:
            length_s = min(2 * (last.until - last.since), limits.longest_s)
        elsewhere = Rate(limits.doubtful / limits.doubtful_s, limits.doubtful)
        challenges = Rate(limits.challenges_per_s, limits.challenges_per_s)
        ban = Ban(source, reason, now, now + length_s, elsewhere, challenges)
        self._bans[source] = ban
        if len(self._bans) > limits.most:
            self._bans.popitem(last=False)
        return ban

    def lift(self, source: str, now: float) -> bool:
        """Lift a source's ban and forget its earlier ones; False: it was not banned."""
        was_banned = self.of(source, now) is not None
        self._bans.pop(source, None)
        return was_banned

    def in_force(self, now: float) -> list[Ban]:
        """Give the bans in force, the oldest first."""
        return [ban for ban in self._bans.values() if now < ban.until]
