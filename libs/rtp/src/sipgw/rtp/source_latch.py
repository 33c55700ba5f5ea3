"""SourceLatch: the source whose RTP a port accepts and that gets the media (RFC 4961, RFC 7362).

The SDP's address is heard from its first packet and latched by its second; it wins the latch back at any
time. Other sources latch only by the rules of the trunk (`LatchRules`), never before the call is answered,
and prove themselves by two packets in sequence of one SSRC and a negotiated payload type; packets of another
SSRC may come between. One datagram alone, forged or not, never moves the latch.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from sipgw.rtp.sequence import sequence_delta

SILENCE_S: Final = 1.0
"""Another source may replace one that was silent for so long."""
_IN_SEQUENCE: Final = 2  # packets that prove a source
_NEAR: Final = 10  # how far the next packet of a candidate may be ahead
_REBIND_NEAR: Final = 1500  # packets lost while a NAT rebinds: 30 s of them
_MOST_CANDIDATES: Final = 16
_MOST_SSRCS: Final = 4  # of the SDP's address: audio, keys, and what is left of an earlier stream
_NEVER_S: Final = float("-inf")

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Source(NamedTuple):
    """A transport address that sends packets, the host in the form of `canonical_host`."""

    host: str
    port: int


class SymmetricMode(Enum):
    """The sources that may latch besides the SDP's address."""

    AUTO = "auto"
    """The caller's own hosts, when it is behind NAT or its SDP's address is silent."""
    ALWAYS = "always"
    """Any host."""
    OFF = "off"
    """No source."""


class Verdict(Enum):
    """The latch's verdict on the source of a packet."""

    HEARD = "heard"
    """The source is the caller."""
    LATCHED = "latched"
    """The source is the caller, and the latch has just closed on it."""
    PENDING = "pending"
    """The source is not proven yet."""
    STRANGE = "strange"
    """The source is not the caller."""


@dataclass(frozen=True, slots=True)
class LatchRules:
    """The limits of a call's trunk, and the facts of its signalling.

    `signalling_host` is where the INVITE came from; empty: unknown. `networks`, if any, bound every source
    but the SDP's address; in AUTO their hosts count as the caller's own.
    """

    mode: SymmetricMode = SymmetricMode.AUTO
    signalling_host: str = ""
    is_behind_nat: bool = False
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet's source and the facts of its header."""

    source: Source
    ssrc: int
    sequence: int
    is_agreed: bool = True
    """Whether its payload type was negotiated."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The last packet of the latched source. A source behind a rebound NAT must continue from it."""

    ssrc: int
    highest_sequence: int
    """16 bits."""
    at_s: float


@dataclass(slots=True)
class _Candidate:
    sequence: int
    count: int = 1

    @property
    def is_proven(self) -> bool:
        return self.count >= _IN_SEQUENCE


class _Candidates:
    """Streams that are not proven yet; of too many the one heard longest ago is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._candidates: OrderedDict[tuple[Source, int], _Candidate] = OrderedDict()

    def follow(self, packet: Arrival) -> _Candidate:
        """Count the packet as proof of its source."""
        key = packet.source, packet.ssrc
        candidate = _advance(self._candidates.pop(key, None), packet)
        self._candidates[key] = candidate
        if len(self._candidates) > self._most:
            self._candidates.popitem(last=False)
        return candidate

    def clear(self) -> None:
        """Forget all."""
        self._candidates.clear()


class SourceLatch:
    """The latch of one port. `expected` is the SDP's address (None: it gave none)."""

    def __init__(
        self,
        expected: Source | None,
        rules: LatchRules,
        *,
        barred: tuple[tuple[Source, int], ...] = (),
    ) -> None:
        """Take `barred`: sources, each with its SSRC, of earlier calls on the port."""
        self.expected = expected
        self.rules = rules
        self.latched: Source | None = None
        self.proven: set[str] = set()
        """Hosts of the SDP's address, and latched ones, that sent valid RTP to this port."""
        self._barred = barred
        self._answered = False
        self._silent_since_s = _NEVER_S  # since when the SDP's address is silent, as the latch itself saw
        self._candidates = _Candidates(_MOST_CANDIDATES)
        self._expected_candidates = _Candidates(_MOST_SSRCS)

    def answer(self, now: float) -> None:
        """Note that the call is answered: other sources may latch from now on."""
        if not self._answered:
            self._answered = True
            self._silent_since_s = now

    def expect(self, expected: Source | None, now: float) -> None:
        """Latch anew: the SDP names another address."""
        self.expected = expected
        self.latched = None
        self._silent_since_s = now
        self._candidates.clear()
        self._expected_candidates.clear()

    def receive_packet(self, packet: Arrival, now: float, heard: Heard | None = None) -> Verdict:
        """Judge a packet. `heard` describes the latched source; None: nothing heard yet."""
        if packet.source == self.expected:
            return self._receive_expected(packet, now)
        if packet.source == self.latched:
            return Verdict.HEARD
        if (packet.source, packet.ssrc) in self._barred or not packet.is_agreed:
            return Verdict.STRANGE
        may_latch = self._may_latch(packet.source.host)
        if not may_latch and not self._is_expected_host(packet.source.host):
            return Verdict.STRANGE
        candidate = self._candidates.follow(packet)
        if candidate.is_proven and self._is_expected_host(packet.source.host):
            self.proven.add(packet.source.host)
        if not may_latch or not self._goes_on(packet, now, heard):
            return Verdict.STRANGE
        if candidate.is_proven and self._is_time(now):
            return self._latch(packet.source)
        return Verdict.PENDING

    def _receive_expected(self, packet: Arrival, now: float) -> Verdict:
        """Judge a packet from exactly the SDP's address.

        It is heard at once while no other source is latched, and latched by two packets.
        """
        if self.latched == packet.source:
            return Verdict.HEARD
        if packet.is_agreed:
            self._silent_since_s = now
            if self._expected_candidates.follow(packet).is_proven:
                return self._latch(packet.source)
        return Verdict.HEARD if self.latched is None else Verdict.PENDING

    def _may_latch(self, host: str) -> bool:
        """Return whether the rules allow the host at all."""
        rules = self.rules
        if rules.networks and not is_within(host, rules.networks):
            return False
        match rules.mode:
            case SymmetricMode.OFF:
                return False
            case SymmetricMode.ALWAYS:
                return True
            case SymmetricMode.AUTO:
                is_own = host == rules.signalling_host or self._is_expected_host(host)
                return is_own or bool(rules.networks)

    def _is_expected_host(self, host: str) -> bool:
        return self.expected is not None and host == self.expected.host

    def _goes_on(self, packet: Arrival, now: float, heard: Heard | None) -> bool:
        """Return whether a source continues the latched one's SSRC and sequence after silence.

        That is how a rebound NAT looks.
        """
        if self.latched is None:
            return True
        if heard is None or packet.ssrc != heard.ssrc or now - heard.at_s < SILENCE_S:
            return False
        return 0 < sequence_delta(packet.sequence, heard.highest_sequence) <= _REBIND_NEAR

    def _is_time(self, now: float) -> bool:
        """Return whether the call is answered and, in AUTO, the SDP's address is impossible or silent."""
        if not self._answered:
            return False
        if self.latched is not None or self.rules.mode is SymmetricMode.ALWAYS or self.rules.is_behind_nat:
            return True
        return now - self._silent_since_s >= SILENCE_S

    def _latch(self, source: Source) -> Verdict:
        self.latched = source
        self.proven.add(source.host)
        self._candidates.clear()
        self._expected_candidates.clear()
        return Verdict.LATCHED


def _advance(candidate: _Candidate | None, packet: Arrival) -> _Candidate:
    """Return the candidate after its next packet; a leap restarts it."""
    if candidate is None:
        return _Candidate(packet.sequence)
    advance = sequence_delta(packet.sequence, candidate.sequence)
    if not -_NEAR <= advance <= _NEAR:
        return _Candidate(packet.sequence)
    if advance > 0:
        candidate.sequence = packet.sequence
        candidate.count += 1
    return candidate


@lru_cache(maxsize=4096)
def canonical_host(text: str) -> str:
    """Return an IP address in one notation: IPv4 inside IPv6 as IPv4, IPv6 compressed.

    Other text stays as it is.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


@lru_cache(maxsize=4096)
def is_within(host: str, networks: tuple[Network, ...]) -> bool:
    """Return whether one of the networks holds the host."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)
