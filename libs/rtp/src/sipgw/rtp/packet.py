"""RTP packets (RFC 3550 §5.1), one at a time: the test oracle of the kernels."""

import struct
from dataclasses import dataclass

from sipgw.rtp.errors import RtpParseError

HEADER_BYTES = 12
_FIXED = struct.Struct("!BBHII")
_VERSION_2 = 0x80
_PADDING, _EXTENSION = 0x20, 0x10


@dataclass(frozen=True, slots=True)
class HeaderExtension:
    """Sixteen bits defined by the profile, and whole 32-bit words."""

    profile: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """A packet. ``padding`` counts the bytes after the payload, including the counting one; 0 is none."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool = False
    payload: bytes = b""
    csrcs: tuple[int, ...] = ()
    extension: HeaderExtension | None = None
    padding: int = 0

    @classmethod
    def parse(cls, data: bytes) -> "RtpPacket":
        """Read a packet. Raises RtpParseError when the lengths inside do not fit, or the version is not 2."""
        if len(data) < HEADER_BYTES:
            raise RtpParseError(f"{len(data)} bytes, but an RTP header has {HEADER_BYTES}")
        first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
        if first & 0xC0 != _VERSION_2:
            raise RtpParseError(f"version {first >> 6}, expected 2")
        begin = HEADER_BYTES + 4 * (first & 0x0F)
        if begin > len(data):
            raise RtpParseError(f"{first & 0x0F} contributing sources in {len(data)} bytes")
        csrcs = struct.unpack_from(f"!{first & 0x0F}I", data, HEADER_BYTES)
        extension = None
        if first & _EXTENSION:
            extension = _parse_extension(data, begin)
            begin += 4 + len(extension.data)
        padding = _padding(data, begin) if first & _PADDING else 0
        return cls(
            payload_type=second & 0x7F,
            sequence=sequence,
            timestamp=timestamp,
            ssrc=ssrc,
            marker=bool(second & 0x80),
            payload=data[begin : len(data) - padding],
            csrcs=csrcs,
            extension=extension,
            padding=padding,
        )

    def to_bytes(self) -> bytes:
        """Serialize the packet."""
        first = _VERSION_2 | len(self.csrcs)
        first |= _EXTENSION if self.extension else 0
        first |= _PADDING if self.padding else 0
        second = self.payload_type | (0x80 if self.marker else 0)
        parts = [_FIXED.pack(first, second, self.sequence, self.timestamp, self.ssrc)]
        parts.append(struct.pack(f"!{len(self.csrcs)}I", *self.csrcs))
        if self.extension:
            parts.append(struct.pack("!HH", self.extension.profile, len(self.extension.data) // 4))
            parts.append(self.extension.data)
        parts.append(self.payload)
        if self.padding:
            parts.append(bytes(self.padding - 1) + bytes([self.padding]))
        return b"".join(parts)


def is_rtcp(data: bytes) -> bool:
    """Return whether a datagram on a port shared with RTP is RTCP: types 192 to 223 (RFC 5761 §4)."""
    return len(data) >= 2 and 192 <= data[1] <= 223


def _parse_extension(data: bytes, begin: int) -> HeaderExtension:
    if begin + 4 > len(data):
        raise RtpParseError("the header extension is cut off")
    profile, words = struct.unpack_from("!HH", data, begin)
    end = begin + 4 + 4 * words
    if end > len(data):
        raise RtpParseError(f"a header extension of {words} words in {len(data)} bytes")
    return HeaderExtension(profile, data[begin + 4 : end])


def _padding(data: bytes, begin: int) -> int:
    """Return the padding's length from the last byte, which counts itself."""
    available = len(data) - begin
    padding = data[-1] if available else 0
    if not 0 < padding <= available:
        raise RtpParseError(f"{padding} bytes of padding, {available} there")
    return padding
