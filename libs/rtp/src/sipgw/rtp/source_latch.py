"""SourceLatch: whose RTP a port listens to, and where the answers go (symmetric RTP, RFC 4961; the care of
RFC 7362).

The address of the SDP is believed at once. Another one (a NAT) must send packets of one SSRC in sequence,
and wait a short window in which the SDP's address may still come, unless its host is the SDP's. Once
latched, the latch never goes to a stranger: only to who goes on with the same SSRC and sequence after the
old address fell silent (a NAT that rebound). Packets whose source an earlier call on this port had are
barred.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from sipgw.rtp.sequence import sequence_delta

WINDOW_S: Final = 0.2
REBIND_SILENCE_S: Final = 0.25
_IN_SEQUENCE: Final = 2  # packets that prove a candidate
_NEAR: Final = 10  # how far the next packet of a candidate may be ahead
_REBIND_NEAR: Final = 1500  # packets lost while a NAT rebinds: 30 s of them
_MOST_CANDIDATES: Final = 8


class Source(NamedTuple):
    """A transport address that packets come from."""

    host: str
    port: int


class Verdict(Enum):
    """What becomes of a packet."""

    HEARD = "heard"  # from the latched source
    LATCHED = "latched"  # the same, and the latch has just closed on it
    PENDING = "pending"  # not believed yet
    STRANGE = "strange"  # not the caller's


@dataclass(frozen=True, slots=True)
class Heard:
    """What the latched source sent last: the proof that a rebound NAT must give."""

    ssrc: int
    highest_sequence: int  # 16 bits
    at_s: float


@dataclass(slots=True)
class _Candidate:
    ssrc: int
    sequence: int
    first_at_s: float
    count: int = 1


@dataclass(slots=True)
class SourceLatch:
    """One port's latch. `expected` is the SDP's address (None: it gave none)."""

    expected: Source | None
    is_symmetric: bool = True
    barred: tuple[tuple[Source, int], ...] = ()  # (source, SSRC) of earlier calls on the port
    window_s: float = WINDOW_S
    latched: Source | None = None
    _candidates: dict[Source, _Candidate] = field(default_factory=dict[Source, _Candidate])

    def receive_packet(
        self, source: Source, *, ssrc: int, sequence: int, now: float, heard: Heard | None = None
    ) -> Verdict:
        """Judge a packet that came to the port. `heard` is of the latched source; None: nothing yet."""
        if self.latched is not None:
            if source == self.latched:
                return Verdict.HEARD
            return self._judge_rebind(source, ssrc, sequence, now, heard)
        if source == self.expected:
            return self._latch(source)
        if not self.is_symmetric or (source, ssrc) in self.barred:
            return Verdict.STRANGE
        candidate = self._follow(source, ssrc, sequence, now)
        if candidate is None or candidate.count < _IN_SEQUENCE:
            return Verdict.PENDING
        patient = self.expected is not None and source.host != self.expected.host
        if patient and now - candidate.first_at_s < self.window_s:
            return Verdict.PENDING
        return self._latch(source)

    def expect(self, expected: Source | None) -> None:
        """The SDP names another address now: latch anew."""
        self.expected = expected
        self.latched = None
        self._candidates.clear()

    def _judge_rebind(
        self, source: Source, ssrc: int, sequence: int, now: float, heard: Heard | None
    ) -> Verdict:
        if not self.is_symmetric or heard is None or ssrc != heard.ssrc:
            return Verdict.STRANGE
        if now - heard.at_s < REBIND_SILENCE_S:
            return Verdict.STRANGE
        if not 0 < sequence_delta(sequence, heard.highest_sequence) <= _REBIND_NEAR:
            return Verdict.STRANGE
        candidate = self._follow(source, ssrc, sequence, now)
        if candidate is None or candidate.count < _IN_SEQUENCE:
            return Verdict.PENDING
        return self._latch(source)

    def _follow(self, source: Source, ssrc: int, sequence: int, now: float) -> _Candidate | None:
        """Count how far a candidate is proven; None when there are too many to listen to."""
        candidate = self._candidates.get(source)
        if candidate is None:
            if len(self._candidates) >= _MOST_CANDIDATES:
                return None
            candidate = self._candidates[source] = _Candidate(ssrc, sequence, now)
            return candidate
        advance = sequence_delta(sequence, candidate.sequence)
        if ssrc != candidate.ssrc or not -_NEAR <= advance <= _NEAR:
            candidate.ssrc, candidate.sequence, candidate.count = ssrc, sequence, 1
            candidate.first_at_s = now
        elif advance > 0:
            candidate.sequence = sequence
            candidate.count += 1
        return candidate

    def _latch(self, source: Source) -> Verdict:
        self.latched = source
        self._candidates.clear()
        return Verdict.LATCHED
