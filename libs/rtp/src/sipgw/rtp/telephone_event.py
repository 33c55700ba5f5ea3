"""Keys in RTP: telephone events (RFC 4733), received and sent.

An event is identified by its timestamp, which all its packets share: the marker bit may be missing, packets
are updates, and the end comes three times. No tones in the audio, no events but the keys.
"""

import struct
from collections import deque
from dataclasses import dataclass, replace

from sipgw.rtp.errors import RtpParseError
from sipgw.rtp.sequence import sequence_delta, timestamp_delta

DIGITS = "0123456789*#ABCD"  # by event code (RFC 4733 §3.2)
LOST_END_TIMEOUT_S = 0.5
_LONGEST = 0xFFFF
_REMEMBERED = 8
_RESTART_S = 10  # an event this much older than the last belongs to a restarted stream; it is not late


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
        if len(payload) < 4:
            raise RtpParseError(f"a telephone event of {len(payload)} bytes")
        event, flags, duration = struct.unpack_from("!BBH", payload)
        return cls(event, bool(flags & 0x80), flags & 0x3F, duration)

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


@dataclass(frozen=True, slots=True)
class _Pressed:
    digit: str
    timestamp: int
    """Of the segment."""
    duration: int
    """In the segment, counting the times that 16 bits wrapped."""
    duration_before: int
    """Of earlier segments."""
    sequence: int
    """The newest."""
    heard_at: float


class DtmfReceiver:
    """The digits of one call. ``now`` is any clock in seconds; calls without RTP events cost nothing."""

    def __init__(self, clock_rate_hz: int = 8000, timeout_s: float = LOST_END_TIMEOUT_S) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._timeout_s = timeout_s
        self._pressed: _Pressed | None = None
        self._ended: deque[int] = deque(maxlen=_REMEMBERED)  # timestamps of events that are over
        self._events: deque[DigitEvent] = deque()
        self._source: int | None = None

    def receive_packet(
        self, payload: bytes, *, timestamp: int, sequence: int, marker: bool, now: float, source: int = 0
    ) -> None:
        """Take a packet of the telephone-event payload type; ignore events that are no keys.

        ``source`` is its SSRC: each numbers and stamps its packets by itself.
        """
        if source != self._source:
            self._source = source
            self._end()
            self._ended.clear()
        try:
            event = TelephoneEvent.parse(payload)
        except RtpParseError:
            return
        if event.digit is None:
            return
        pressed = self._pressed
        if pressed and timestamp == pressed.timestamp:
            self._pressed = _updated(pressed, event.duration, sequence, now)
        elif pressed and not marker and _continues(pressed, event.digit, timestamp):
            self._ended.append(pressed.timestamp)
            self._pressed = replace(
                pressed,
                timestamp=timestamp,
                duration=event.duration,
                duration_before=pressed.duration_before + timestamp_delta(timestamp, pressed.timestamp),
                sequence=sequence,
                heard_at=now,
            )
        elif self._is_late(timestamp):
            return
        else:
            self._end()
            self._events.append(DigitStarted(event.digit))
            self._pressed = _Pressed(event.digit, timestamp, event.duration, 0, sequence, now)
        if event.end:
            self._end()

    def next_event(self) -> DigitEvent | None:
        """Take the oldest event."""
        return self._events.popleft() if self._events else None

    def next_timer(self) -> float | None:
        """Return when to call handle_timer, since the end of a key is then overdue."""
        return self._pressed.heard_at + self._timeout_s if self._pressed else None

    def handle_timer(self, now: float) -> None:
        """End a key whose packets have stopped."""
        due = self.next_timer()
        if due is not None and now >= due:
            self._end()

    def _end(self) -> None:
        pressed, self._pressed = self._pressed, None
        if pressed is None:
            return
        duration = pressed.duration_before + pressed.duration
        self._events.append(DigitEnded(pressed.digit, round(duration * 1000 / self._clock_rate_hz)))
        self._ended.append(pressed.timestamp)

    def _is_late(self, timestamp: int) -> bool:
        """Return whether a packet belongs to an event that is over, or that a newer event has passed."""
        if timestamp in self._ended:
            return True
        newest = self._pressed.timestamp if self._pressed else self._ended[-1] if self._ended else None
        if newest is None:
            return False
        return -_RESTART_S * self._clock_rate_hz < timestamp_delta(timestamp, newest) < 0


def _updated(pressed: _Pressed, duration: int, sequence: int, now: float) -> _Pressed:
    """Return the key with the newer of both durations.

    One that fell by half its range has wrapped (some peers allow it).
    """
    if sequence_delta(sequence, pressed.sequence) <= 0:
        return replace(pressed, heard_at=now)
    rounds, last = divmod(pressed.duration, _LONGEST + 1)
    if last - duration > _LONGEST // 2:
        rounds += 1
    longest = max(pressed.duration, rounds * (_LONGEST + 1) + duration)
    return replace(pressed, duration=longest, sequence=sequence, heard_at=now)


def _continues(pressed: _Pressed, digit: str, timestamp: int) -> bool:
    """Return whether a key held longer than 16 bits can count goes on (RFC 4733 §2.5.1.3).

    The next segment begins where the last ended, at its full length; the last updates of that one may be
    lost.
    """
    advance = timestamp_delta(timestamp, pressed.timestamp)
    return digit == pressed.digit and pressed.duration > 0xE000 and abs(advance - _LONGEST) <= 1


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
            raise ValueError(f"no key: {wrong[0]!r}; keys are {DIGITS}")
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
