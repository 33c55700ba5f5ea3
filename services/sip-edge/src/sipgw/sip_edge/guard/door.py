"""Decide which datagrams are read: all, unless their source is banned or there are too many strangers."""

from sipgw.sip import (
    AckReceived,
    CancelReceived,
    MalformedReceived,
    ResponseStray,
    TransactionEvent,
)
from sipgw.sip_edge import metrics
from sipgw.sip_edge.guard.budgets import Rate
from sipgw.sip_edge.guard.glance import Glance, LiveNames, Look
from sipgw.sip_edge.guard.ledger import Kind, StrangerLedger
from sipgw.sip_edge.sip.identifiers import call_id_of_tag

_BANNED = metrics.DATAGRAMS_DROPPED.labels("banned")
_CROWDED = metrics.DATAGRAMS_DROPPED.labels("crowded")
_ELSEWHERE_PER_S = 100.0


class Door:
    """Decides about each datagram before it is parsed, and counts messages that belong to no call."""

    def __init__(self, ledger: StrangerLedger, names: LiveNames) -> None:
        self._ledger = ledger
        self._names = names
        self._glance = Glance(names)
        self._elsewhere = Rate(_ELSEWHERE_PER_S, _ELSEWHERE_PER_S)
        self._banned = self._crowded = 0

    def admits(self, data: bytes, host: str, now: float) -> bool:
        """Tell whether to read a datagram.

        What belongs to a live call is read in spite of any ban or crowd.
        """
        ledger = self._ledger
        ban = ledger.ban_of(host, now)
        if ban is None:
            return (
                not ledger.is_crowded(now) or ledger.is_exempt(host, now) or self._stands_out(data, host, now)
            )
        match self._glance.look(data, host):
            case Look.OF_A_CALL | Look.PROVED:
                return True
            case Look.ELSEWHERE if ban.elsewhere.take(now):
                return True
            case Look.INVITE if ledger.asks_passwords and ban.challenges.take(now):
                return True
            case _:
                ban.note_refused()
                self._banned += 1
                return False

    def count_dropped(self) -> None:
        """Add the dropped datagrams to the metrics.

        Call this after each batch: a counter's lock for each datagram would cost more than the look at it.
        """
        if self._banned:
            _BANNED.inc(self._banned)
        if self._crowded:
            _CROWDED.inc(self._crowded)
        self._banned = self._crowded = 0

    def note(self, event: TransactionEvent, now: float) -> None:
        """Count a message that could not be parsed, or that belongs to no call and no transaction here."""
        match event:
            case MalformedReceived():
                kind = Kind.MALFORMED
            case AckReceived() if not self._names.has_call(call_id_of_tag(event.request.to.tag) or ""):
                kind = Kind.STRAY
            case CancelReceived(invite_key=None) | ResponseStray():
                kind = Kind.STRAY
            case _:
                return
        if not self._ledger.is_exempt(event.source.host, now):
            self._ledger.note(event.source.host, kind, now)

    def _stands_out(self, data: bytes, host: str, now: float) -> bool:
        """Tell whether to read a datagram while there are too many strangers: only if it belongs to a call.

        Count the others for their source.
        """
        look = self._glance.look(data, host)
        if look in (Look.OF_A_CALL, Look.PROVED) or (look is Look.ELSEWHERE and self._elsewhere.take(now)):
            return True
        kind = Kind.INVITE if look is Look.INVITE else Kind.OTHER_REQUEST
        self._ledger.note(host, kind if look is not Look.ELSEWHERE else Kind.STRAY, now)
        self._crowded += 1
        return False
