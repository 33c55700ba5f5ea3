"""Count what each source has cost; tell which sources are exempt, over budget or banned.

Sans-I/O: `now` is an argument.

UDP sources can be forged, so no live call depends on these counts: see `door` and `screen`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sipgw.sip_edge.guard.bans import Ban, BanList
from sipgw.sip_edge.guard.budgets import Rate, SourceBudget
from sipgw.sip_edge.guard.sources import Networks, address_of, source_of
from sipgw.sip_edge.limits import StrangerLimits

_MOST_HOSTS: Final = 16_384


class Kind(StrEnum):
    """The kind of a counted message; a label of metrics."""

    INVITE = "INVITE"
    OPTIONS = "OPTIONS"
    REGISTER = "REGISTER"
    OTHER_REQUEST = "other request"
    MALFORMED = "malformed"
    STRAY = "stray"


@dataclass(frozen=True, slots=True)
class _Host:
    """The source of a socket address, as looked up last."""

    source: str
    is_vouched_for: bool = field(kw_only=True)


class StrangerLedger:
    """Counts strangers' messages: ask it before work is spent on a datagram, and note each message."""

    def __init__(
        self, limits: StrangerLimits, trusted: Networks, on_ban: Callable[[Ban, Kind], None]
    ) -> None:
        """`trusted` networks are exempt besides those of trunks. `on_ban` is called with each ban."""
        self._limits = limits
        self._trusted = trusted
        self._of_trunks = Networks()
        self._has_config = False
        self._on_ban = on_ban
        self._hosts: dict[str, _Host] = {}
        self._requests = SourceBudget(limits.requests, limits.period_s, limits.most_sources)
        self._strays = SourceBudget(limits.strays, limits.period_s, limits.most_sources)
        self._together = Rate(limits.together_per_s, limits.together_per_s)
        self._proofs: OrderedDict[str, float] = OrderedDict()
        self.bans = BanList(limits.bans)
        self.asks_passwords = False
        """Whether a source may prove by a password that it is a trunk."""

    def take_trunks(self, cidrs: Iterable[str], now: float, *, asks_passwords: bool) -> None:
        """Exempt the sources of trunks. Until this is called, every source is exempt."""
        self._of_trunks = Networks(cidrs)
        self.asks_passwords = asks_passwords
        self._has_config = True
        self._hosts.clear()
        for ban in self.bans.in_force(now):
            if self._look_up(ban.source.partition("/")[0]).is_vouched_for:
                self.bans.lift(ban.source, now)

    def source_of(self, host: str) -> str:
        """Give the source that a host belongs to."""
        return (self._hosts.get(host) or self._look_up(host)).source

    def is_exempt(self, host: str, now: float) -> bool:
        """Tell whether a host is trusted, in a trunk's network, or has lately given a right password."""
        return self._is_exempt(self._hosts.get(host) or self._look_up(host), now)

    def ban_of(self, host: str, now: float) -> Ban | None:
        """Return the ban in force for a host; None also if the host is exempt.

        Another host of the same source may have caused the ban: the source of an IPv6 host is a /64.
        """
        known = self._hosts.get(host) or self._look_up(host)
        ban = self.bans.of(known.source, now)
        return None if ban is None or self._is_exempt(known, now) else ban

    def is_crowded(self, now: float) -> bool:
        """Tell whether all strangers together have exceeded their rate."""
        return self._together.is_spent(now)

    def is_new(self, host: str) -> bool:
        """Tell whether nothing has been counted for a host's source."""
        return not self._requests.knows(self.source_of(host))

    def note(self, host: str, kind: Kind, now: float) -> bool:
        """Count a message of a host that is not exempt; False: the host is banned, now or before."""
        source = self.source_of(host)
        if self.bans.of(source, now) is not None:
            return False
        self._together.take(now)
        budget, limit = (
            (self._strays, self._limits.strays)
            if kind is Kind.STRAY
            else (self._requests, self._limits.requests)
        )
        if budget.spend(source, now):
            return True
        reason = f"more than {limit} in {self._limits.period_s:g} s, the last: {kind}"
        self._on_ban(self.bans.ban(source, reason, now), kind)
        return False

    def note_proof(self, host: str, now: float) -> None:
        """Exempt the source of a host that gave a right password, and lift its ban."""
        source = self.source_of(host)
        self._proofs[source] = now + self._limits.proof_s
        self._proofs.move_to_end(source)
        if len(self._proofs) > self._limits.most_sources:
            self._proofs.popitem(last=False)
        self.lift(source, now)

    def lift(self, source: str, now: float) -> bool:
        """Lift a source's ban and forget all that was counted for it; False: it was not banned."""
        self._requests.forget(source)
        self._strays.forget(source)
        return self.bans.lift(source, now)

    def _is_exempt(self, known: _Host, now: float) -> bool:
        if known.is_vouched_for or not self._has_config:
            return True
        return bool(self._proofs) and self._proofs.get(known.source, now) > now

    def _look_up(self, host: str) -> _Host:
        if len(self._hosts) >= _MOST_HOSTS:
            self._hosts.clear()
        address = address_of(host)
        is_vouched_for = address is not None and (address in self._trusted or address in self._of_trunks)
        known = self._hosts[host] = _Host(source_of(host), is_vouched_for=is_vouched_for)
        return known
