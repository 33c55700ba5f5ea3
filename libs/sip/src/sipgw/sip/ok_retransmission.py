"""The 2xx to an INVITE, sent again by the transaction user until its ACK comes (RFC 3261 §13.3.1.4).

The first copy goes out through the transaction. Copies are sent over every transport, reliable or not.
"""

from enum import Enum, auto

from sipgw.sip.message import SipResponse
from sipgw.sip.routing import Address
from sipgw.sip.serializer import serialize
from sipgw.sip.timers import TimerValues


class OkState(Enum):
    """GAVE_UP: no ACK came within 64*T1, so the session should be ended with a BYE."""

    WAITING = auto()
    ACKED = auto()
    GAVE_UP = auto()


class OkRetransmission:
    """Copies of one 2xx, T1, 2*T1, ... up to T2 apart, counted from `now`, when the first one was sent."""

    def __init__(
        self,
        response: SipResponse | bytes,
        destination: Address,
        now: float,
        timers: TimerValues | None = None,
    ) -> None:
        values = timers or TimerValues()
        self._data = response if isinstance(response, bytes) else serialize(response)
        self._destination = destination
        self._interval = values.t1_s
        self._longest = values.t2_s
        self._next_copy = now + values.t1_s
        self._end = now + values.timeout_s
        self._outbox: list[tuple[bytes, Address]] = []
        self.state = OkState.WAITING

    @property
    def gave_up(self) -> bool:
        return self.state is OkState.GAVE_UP

    def acked(self) -> None:
        """Stop the copies since the ACK has come. After giving up it changes nothing."""
        if self.state is OkState.WAITING:
            self.state = OkState.ACKED
            self._outbox = []

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is due; None when the copies have ended."""
        return min(self._next_copy, self._end) if self.state is OkState.WAITING else None

    def handle_timer(self, now: float) -> OkState:
        """Prepare the copy that is due, or give up; return the state after that."""
        if self.state is not OkState.WAITING:
            return self.state
        if now >= self._end:
            self.state = OkState.GAVE_UP
        elif now >= self._next_copy:
            self._outbox.append((self._data, self._destination))
            self._interval = min(self._interval * 2, self._longest)
            self._next_copy = now + self._interval
        return self.state

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        """Take the copies to be sent."""
        outbox, self._outbox = self._outbox, []
        return outbox
