"""Bans that double: a source that comes back as it was is kept out for twice as long. Bounded memory, no
clock.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from sipgw.sip_edge.guard.budgets import Rate
from sipgw.sip_edge.limits import BanLimits


@dataclass(slots=True)
class Ban:
    """One source that is kept out from `since` until `until`."""

    source: str
    reason: str
    since: float
    until: float
    elsewhere: Rate
    challenges: Rate
    refused: int = field(default=0)
    """Datagrams dropped since it began."""

    def note_refused(self) -> None:
        """Count a datagram that was dropped."""
        self.refused += 1


class BanList:
    """The bans in force, and those that ended a short while ago."""

    def __init__(self, limits: BanLimits) -> None:
        self._limits = limits
        self._bans: OrderedDict[str, Ban] = OrderedDict()

    def of(self, source: str, now: float) -> Ban | None:
        """The ban in force for a source."""
        ban = self._bans.get(source)
        return ban if ban is not None and now < ban.until else None

    def ban(self, source: str, reason: str, now: float) -> Ban:
        """Keep a source out, for twice as long as the last time."""
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
        """Let a source in again and forget its bans; False when it was not banned."""
        was_banned = self.of(source, now) is not None
        self._bans.pop(source, None)
        return was_banned

    def in_force(self, now: float) -> list[Ban]:
        """The bans in force, the oldest first."""
        return [ban for ban in self._bans.values() if now < ban.until]
