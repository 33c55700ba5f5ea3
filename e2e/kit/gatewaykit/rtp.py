"""RTP as a test sends and reads it: packets made by struct, a sender of a byte stream, what came back when.

It does not use sipgw.rtp, so that the code under test does not test itself.
"""

import asyncio
import contextlib
import itertools
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sipgw.runtime.patience import patient

_HEADER = struct.Struct("!BBHII")
PTIME_S = 0.02
FRAME = 160
SILENCE = 0xFF


@dataclass(frozen=True)
class Packet:
    """One RTP packet; `at` is its arrival, monotonic seconds."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    at: float = 0.0

    @classmethod
    def parse(cls, data: bytes) -> "Packet":
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        assert first >> 6 == 2, f"RTP version {first >> 6}"
        header = _HEADER.size + 4 * (first & 0x0F)
        return cls(
            second & 0x7F, bool(second >> 7), sequence, timestamp, ssrc, data[header:], time.monotonic()
        )

    def to_bytes(self) -> bytes:
        second = self.payload_type | (0x80 if self.marker else 0)
        return (
            _HEADER.pack(0x80, second, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, self.ssrc)
            + self.payload
        )


def noise(seconds: float, seed: int) -> bytes:
    """Make µ-law bytes of which any 32 in a row occur only once, of every value but silence (0xFF)."""
    return bytes(random.Random(seed).choices(range(255), k=int(seconds * 8000)))


@dataclass
class RtpPort(asyncio.DatagramProtocol):
    """A UDP socket for one call's audio: keeps the packets that come, and sends a stream in real time."""

    ssrc: int = field(default_factory=lambda: random.getrandbits(32))
    received: list[Packet] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    sequence: int = field(default_factory=lambda: random.randrange(30_000))
    timestamp: int = field(default_factory=lambda: random.getrandbits(31))
    payload_type: int = 0
    transport: asyncio.DatagramTransport | None = None
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def open(cls, host: str = "127.0.0.1") -> "RtpPort":
        loop = asyncio.get_running_loop()
        _, port = await loop.create_datagram_endpoint(cls, local_addr=(host, 0), family=socket.AF_INET)
        return port

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.append(Packet.parse(data))
        self._more.set()

    async def heard(self, packets: int) -> None:
        """Wait until that many packets have come; the caller sets a timeout."""
        while len(self.received) < packets:
            self._more.clear()
            await self._more.wait()

    @property
    def port(self) -> int:
        assert self.transport is not None
        return self.transport.get_extra_info("sockname")[1]

    def send(self, payload: bytes, to: tuple[str, int], *, marker: bool = False) -> None:
        """Send one packet, the next in sequence."""
        assert self.transport is not None
        packet = Packet(self.payload_type, marker, self.sequence, self.timestamp, self.ssrc, payload)
        self.transport.sendto(packet.to_bytes(), to)
        self.sequence += 1
        self.timestamp += len(payload)
        self.sent_at.append(time.monotonic())

    async def stream(self, audio: bytes, to: tuple[str, int] | Callable[[], tuple[str, int]]) -> None:
        """Send `audio` in frames of 20 ms, in real time; `to` may be asked for each."""
        start = time.monotonic()
        for number in range(len(audio) // FRAME):
            await asyncio.sleep(max(0.0, start + number * PTIME_S - time.monotonic()))
            where = to() if callable(to) else to
            self.send(audio[number * FRAME : (number + 1) * FRAME], where, marker=number == 0)

    async def hears(self, audio: bytes, share: float, timeout_s: float = 2.0) -> bool:
        """Wait until that share of `audio` has come back; return whether it has in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patient(timeout_s)):
                while echoed_share(audio, self.audio())[0] < share:
                    await self.heard(len(self.received) + 5)
        return echoed_share(audio, self.audio())[0] >= share

    def audio(self) -> bytes:
        """Return the payloads of audio in order of sequence."""
        return b"".join(packet.payload for packet in self._in_order())

    def _in_order(self) -> list[Packet]:
        packets = [packet for packet in self.received if packet.payload_type == self.payload_type]
        if not packets:
            return []
        first = packets[0].sequence
        return sorted(packets, key=lambda packet: (packet.sequence - first + 0x8000) & 0xFFFF)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


def echoed_frames(sent: bytes, port: RtpPort) -> list[tuple[int, float]]:
    """Return (frame number in `sent`, delay in seconds) of each packet that came back unchanged and whole."""
    found: list[tuple[int, float]] = []
    for packet in port.received:
        place = sent.find(packet.payload) if len(packet.payload) == FRAME else -1
        if place >= 0:
            number = place // FRAME
            found.append((number, packet.at - port.sent_at[number]))
    return found


def worst_gap(port: RtpPort, sent: bytes, *, after: float = 0.0) -> float:
    """Return the longest time in seconds between two arrivals of audio that is an echo of `sent`."""
    at = [packet.at for packet in port.received if packet.at >= after and sent.find(packet.payload[:32]) >= 0]
    return max((b - a for a, b in itertools.pairwise(at)), default=float("inf"))


def longest_echo(sent: bytes, received: bytes) -> int:
    """Return the most bytes in a row of `sent` that came back unchanged."""
    best = 0
    position = 0
    while position + 32 <= len(received):
        place = sent.find(received[position : position + 32])
        if place < 0:
            position += 32
            continue
        length = 0
        while (
            position + length < len(received)
            and place + length < len(sent)
            and received[position + length] == sent[place + length]
        ):
            length += 1
        best = max(best, length)
        position += max(length, 32)
    return best


_CONCEALED = 560
"""Bytes: 60 ms in which a voice fades, and 10 ms in which the next frame is faded in."""


def echoed_share(sent: bytes, received: bytes) -> tuple[float, int]:
    """Return (share of `sent` that came back in order, unchanged; number of bytes that were altered).

    On a busy machine a sender is late, its frame is concealed, and the share falls, as at the end of what is
    sent. A run of other bytes that is longer than concealment, however, was altered.
    """
    matched, altered, position, place, run = 0, 0, 0, 0, 0
    while position + 32 <= len(received):
        if received[position] == SILENCE:
            position += 1
            continue
        found = sent.find(received[position : position + 32], place)
        if found < 0:
            run += 1
            altered += run > _CONCEALED
            position += 1
            continue
        run = 0
        length = 32
        end = min(len(sent) - found, len(received) - position)
        while length < end and received[position + length] == sent[found + length]:
            length += 1
        matched += length
        position += length
        place = found + length
    return matched / len(sent), altered


def sequence_gaps(port: RtpPort) -> int:
    """Count the sequence numbers missing between the first and the last received."""
    numbers = [packet.sequence for packet in port.received]
    if not numbers:
        return 0
    span = (max((number - numbers[0] + 0x8000) & 0xFFFF for number in numbers)) - 0x8000 + 1
    return span - len(Counter(numbers))
