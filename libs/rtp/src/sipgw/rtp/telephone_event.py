"""Keys in RTP: telephone events (RFC 4733), received and sent.

Packets are updates, any of them may be missing, and the end comes three times; `key_press` says which are of
one press. No tones in the audio, no events but the keys.
"""

import struct
from collections import OrderedDict, deque
from dataclasses import dataclass

from sipgw.rtp.errors import RtpParseError
from sipgw.rtp.key_press import KeyPacket, Press, Verdict, judge, judge_packed

DIGITS = "0123456789*#ABCD"  # by event code (RFC 4733 §3.2)
LOST_END_TIMEOUT_S = 0.5
_LONGEST = 0xFFFF
_PRESSES_REMEMBERED = 16
_MOST_SOURCES = 4
_BLOCK = 4
_MOST_PACKED = 8


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """The payload: event code, end bit, volume in -dBm0 (0 to 63), duration in timestamp units (16 bits)."""

    event: int
    end: bool
    volume: int
    duration: int

    @classmethod
    def parse(cls, payload: bytes) -> "TelephoneEvent":
        """Read a payload; bytes after the first four are ignored. Raises RtpParseError."""
        if len(payload) < _BLOCK:
            raise RtpParseError(f"a telephone-event payload of {len(payload)} bytes")
        event, flags, duration = struct.unpack_from("!BBH", payload)
        return cls(event, bool(flags & 0x80), flags & 0x3F, duration)

    @classmethod
    def parse_all(cls, payload: bytes) -> list["TelephoneEvent"]:
        """Read a payload that may hold several events, each but the last ended (RFC 4733 §2.5.1.5).

        Other bytes after the first event are ignored. Raises RtpParseError.
        """
        first = cls.parse(payload)
        if len(payload) == _BLOCK or len(payload) % _BLOCK or len(payload) > _MOST_PACKED * _BLOCK:
            return [first]
        events = [cls.parse(payload[at:]) for at in range(0, len(payload), _BLOCK)]
        is_packed = all(event.end for event in events[:-1]) and all(event.duration for event in events)
        return events if is_packed else [first]

    def to_bytes(self) -> bytes:
        """Serialize the payload."""
        return struct.pack("!BBH", self.event, (0x80 if self.end else 0) | self.volume, self.duration)

    @property
    def digit(self) -> str | None:
        """The key; None for other events."""
        return DIGITS[self.event] if self.event < len(DIGITS) else None


@dataclass(frozen=True, slots=True)
class DigitStarted:
    """A key went down."""

    digit: str


@dataclass(frozen=True, slots=True)
class DigitEnded:
    """A key went up, or its packets stopped. Follows every DigitStarted once."""

    digit: str
    duration_ms: int


DigitEvent = DigitStarted | DigitEnded


class DtmfReceiver:
    """The digits of one call. ``now`` is any clock in seconds; calls without RTP events cost nothing."""

    def __init__(self, clock_rate_hz: int = 8000, timeout_s: float = LOST_END_TIMEOUT_S) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._timeout_s = timeout_s
        self._presses: OrderedDict[int, deque[Press]] = OrderedDict()
        """The presses of each source, the newest last. The source heard last is at the end."""
        self._pressed: deque[Press] | None = None
        """The presses whose newest has started and not ended."""
        self._events: deque[DigitEvent] = deque()

    def set_clock_rate(self, clock_rate_hz: int) -> None:
        """Apply another clock rate, agreed anew; a key that is held goes on."""
        self._clock_rate_hz = clock_rate_hz

    def receive_packet(
        self, payload: bytes, *, timestamp: int, sequence: int, marker: bool, now: float, source: int = 0
    ) -> None:
        """Take a packet of the telephone-event payload type; ignore events that are no keys.

        ``source`` is its SSRC: each numbers and stamps its packets by itself.
        """
        try:
            events = TelephoneEvent.parse_all(payload)
        except RtpParseError:
            return
        presses = self._of_source(source)
        for event in events:
            if event.digit is not None:
                packet = KeyPacket(event.event, event.end, event.duration, timestamp, sequence, marker, now)
                if len(events) > 1:
                    verdict = judge_packed(presses, packet)
                else:
                    verdict = judge(presses, packet, self._clock_rate_hz)
                self._take(presses, packet, verdict)
            timestamp = (timestamp + event.duration) & 0xFFFFFFFF

    def _take(self, presses: deque[Press], packet: KeyPacket, verdict: Verdict) -> None:
        match verdict:
            case Verdict.LATE:
                return
            case Verdict.SAME:
                presses[-1] = presses[-1].add(packet)
            case Verdict.NEW:
                self._end()
                self._events.append(DigitStarted(DIGITS[packet.code]))
                presses.append(Press.begin(packet, presses[-1] if presses else None))
                self._pressed = presses
        if packet.is_end and self._pressed is presses:
            self._end()

    def next_event(self) -> DigitEvent | None:
        """Take the oldest event."""
        return self._events.popleft() if self._events else None

    def next_timer(self) -> float | None:
        """Return when to call handle_timer, since the end of a key is then overdue."""
        return self._pressed[-1].newest.heard_at + self._timeout_s if self._pressed else None

    def handle_timer(self, now: float) -> None:
        """End a key whose packets have stopped."""
        due = self.next_timer()
        if due is not None and now >= due:
            self._end()

    def _of_source(self, source: int) -> deque[Press]:
        """Return the presses of the source; of too many sources the one heard longest ago is forgotten."""
        presses = self._presses.pop(source, None)
        if presses is None:
            presses = deque[Press](maxlen=_PRESSES_REMEMBERED)
        self._presses[source] = presses
        if len(self._presses) > _MOST_SOURCES:
            self._presses.popitem(last=False)
        return presses

    def _end(self) -> None:
        presses, self._pressed = self._pressed, None
        if presses is not None:
            press = presses[-1]
            duration_ms = round(press.duration * 1000 / self._clock_rate_hz)
            self._events.append(DigitEnded(DIGITS[press.newest.code], duration_ms))


@dataclass(frozen=True, slots=True)
class EventPacket:
    """The fields of an RTP packet with a telephone event; the caller adds the sequence number."""

    payload: bytes
    timestamp: int
    marker: bool


class DtmfSender:
    """Sends digits one after the other, one packet in each packet period, in place of audio.

    A tone's packets go out every ``packet_ms``, the last one three times. A pause of ``gap_ms`` follows, in
    which next_packet returns None and the caller sends audio.
    """

    def __init__(
        self,
        digits: str,
        *,
        clock_rate_hz: int = 8000,
        tone_ms: int = 100,
        gap_ms: int = 100,
        packet_ms: int = 20,
        volume: int = 10,
    ) -> None:
        """Take the times.

        Raises ValueError for text that is no key and a tone longer than 16 bits can count.
        """
        if wrong := [digit for digit in digits.upper() if digit not in DIGITS]:
            raise ValueError(f"not a key: {wrong[0]!r}; keys are {DIGITS}")
        self._step = clock_rate_hz * packet_ms // 1000
        self._updates = max(1, -(-tone_ms // packet_ms))
        if self._updates * self._step > _LONGEST:
            raise ValueError(
                f"a tone of {tone_ms} ms is too long, at most {_LONGEST * 1000 // clock_rate_hz} ms"
            )
        self._periods = self._updates + max(3, -(-gap_ms // packet_ms))
        self._codes = [DIGITS.index(digit) for digit in digits.upper()]
        self._volume = volume
        self._period = 0
        self._timestamp = 0

    @property
    def is_finished(self) -> bool:
        return not self._codes

    def next_packet(self, timestamp: int) -> EventPacket | None:
        """Return the packet of the period that begins at ``timestamp``; None for a period of audio."""
        if not self._codes:
            return None
        if self._period == 0:
            self._timestamp = timestamp
        period, self._period = self._period, self._period + 1
        code = self._codes[0]
        if self._period >= self._periods:
            self._codes.pop(0)
            self._period = 0
        updates = min(period + 1, self._updates)
        if period >= self._updates + 2:
            return None
        event = TelephoneEvent(code, period + 1 >= self._updates, self._volume, updates * self._step)
        return EventPacket(event.to_bytes(), self._timestamp, marker=period == 0)
