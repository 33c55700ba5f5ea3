"""DigitsIn: the keys that callers press (RFC 4733). A call without keys costs nothing."""

from collections.abc import Iterator

from sipgw.rtp.packet import RtpPacket
from sipgw.rtp.telephone_event import DigitEvent, DigitStarted, DtmfReceiver


class DigitsIn:
    """A receiver for each row, made at its first event packet."""

    def __init__(self) -> None:
        self._receivers: dict[int, DtmfReceiver] = {}
        self._pressed: set[int] = set()
        """Rows with a key down. The packets of its end may be lost."""
        self._clock_hz: dict[int, int] = {}

    def configure(self, row: int, clock_rate_hz: int) -> None:
        """Set the agreed clock rate of the row's telephone events."""
        self._clock_hz[row] = clock_rate_hz
        if row in self._receivers:
            self._receivers[row].set_clock_rate(clock_rate_hz)

    def close(self, row: int) -> None:
        """Forget the row's keys."""
        self._receivers.pop(row, None)
        self._clock_hz.pop(row, None)
        self._pressed.discard(row)

    def receive(self, row: int, packet: RtpPacket, now_s: float) -> Iterator[DigitEvent]:
        """Take an event packet; yield the keys that it begins or ends."""
        receiver = self._receivers.get(row)
        if receiver is None:
            receiver = self._receivers[row] = DtmfReceiver(self._clock_hz.get(row, 8000))
        receiver.receive_packet(
            packet.payload,
            timestamp=packet.timestamp,
            sequence=packet.sequence,
            marker=packet.marker,
            now=now_s,
            source=packet.ssrc,
        )
        yield from self._take(row, receiver)

    def handle_timers(self, now_s: float) -> Iterator[tuple[int, DigitEvent]]:
        """Yield the keys whose end was lost."""
        for row in list(self._pressed):
            receiver = self._receivers[row]
            receiver.handle_timer(now_s)
            for event in self._take(row, receiver):
                yield row, event

    def _take(self, row: int, receiver: DtmfReceiver) -> Iterator[DigitEvent]:
        while (event := receiver.next_event()) is not None:
            if isinstance(event, DigitStarted):
                self._pressed.add(row)
            else:
                self._pressed.discard(row)
            yield event
