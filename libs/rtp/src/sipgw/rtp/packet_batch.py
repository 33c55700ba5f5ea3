"""RTP headers (RFC 3550 §5.1) of many datagrams at once, as columns. `packet.py` is the scalar oracle.

Payload formats and RTCP are left to the caller (`is_rtcp` tells RTCP apart, RFC 5761 §4).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

DatagramsU8 = npt.NDArray[np.uint8]  # shape (n, width): one datagram a row
ColumnU8 = npt.NDArray[np.uint8]
ColumnU16 = npt.NDArray[np.uint16]
ColumnU32 = npt.NDArray[np.uint32]
ColumnI32 = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

HEADER_BYTES: Final = 12
_PLAIN: Final = 0x80  # version 2, no padding, no extension, no contributing sources


@dataclass(slots=True)
class PacketBatch:
    """Columns of n datagrams, shape (n,) each. Where `valid` is False the other columns are undefined."""

    valid: Mask
    payload_type: ColumnU8
    marker: Mask
    sequence: ColumnU16
    timestamp: ColumnU32
    ssrc: ColumnU32
    payload_start: ColumnI32
    """Index of the payload's first byte."""
    payload_length: ColumnI32

    def __len__(self) -> int:
        return len(self.valid)


def parse_batch(datagrams: DatagramsU8, lengths: ColumnI32) -> PacketBatch:
    """Read the headers of `datagrams` (n, width); `lengths` are their filled bytes, and width >= 12."""
    header = np.ascontiguousarray(datagrams[:, :HEADER_BYTES])
    first, second = header[:, 0], header[:, 1]
    half_words = header.view(">u2")
    words = header.view(">u4")
    valid = (lengths >= HEADER_BYTES) & (first & 0xC0 == 0x80)
    start = np.full(len(header), HEADER_BYTES, np.int32)
    end = lengths.astype(np.int32)
    plain = first == _PLAIN
    if not plain.all():
        odd = np.flatnonzero(valid & ~plain)
        if len(odd):
            _measure(datagrams, odd, valid, start, end)
    return PacketBatch(
        valid=valid,
        payload_type=second & np.uint8(0x7F),
        marker=second >= 0x80,
        sequence=half_words[:, 1].astype(np.uint16),
        timestamp=words[:, 1].astype(np.uint32),
        ssrc=words[:, 2].astype(np.uint32),
        payload_start=start,
        payload_length=end - start,
    )


def _measure(
    datagrams: DatagramsU8, odd: npt.NDArray[np.intp], valid: Mask, start: ColumnI32, end: ColumnI32
) -> None:
    """Correct `valid`, `start` and `end` of the rows `odd`: they have CSRCs, an extension or padding."""
    first = datagrams[odd, 0]
    begin: ColumnI32 = HEADER_BYTES + 4 * (first & 0x0F).astype(np.int32)
    finish: ColumnI32 = end[odd]
    ok: Mask = begin <= finish
    width = datagrams.shape[1]
    extended: Mask = ok & (first & 0x10 != 0)
    at: ColumnI32 = np.minimum(begin, width - 4)
    words: ColumnI32 = datagrams[odd, at + 2].astype(np.int32) << 8 | datagrams[odd, at + 3]
    ok &= ~extended | (begin + 4 <= finish)
    begin = np.where(extended, begin + 4 + 4 * words, begin)
    ok &= begin <= finish
    padded: Mask = ok & (first & 0x20 != 0)
    padding: ColumnI32 = datagrams[odd, np.clip(finish - 1, 0, width - 1)].astype(np.int32)
    ok &= ~padded | ((padding > 0) & (padding <= finish - begin))
    valid[odd] = ok
    start[odd] = begin
    end[odd] = np.where(padded, finish - padding, finish)


def is_rtcp(datagrams: DatagramsU8) -> Mask:
    """Return which datagrams on a port shared with RTP are RTCP: types 192 to 223 (RFC 5761 §4)."""
    second = datagrams[:, 1]
    return (second >= 192) & (second <= 223)


def write_headers(
    packets: DatagramsU8,
    *,
    payload_type: ColumnU8,
    marker: Mask,
    sequence: ColumnU16,
    timestamp: ColumnU32,
    ssrc: ColumnU32,
) -> None:
    """Write plain headers into the first 12 bytes of each row of `packets` (n, >= 12)."""
    count = len(packets)
    header = np.empty((count, HEADER_BYTES), np.uint8)
    header[:, 0] = _PLAIN
    header[:, 1] = payload_type | (marker.astype(np.uint8) << 7)
    header.view(">u2")[:, 1] = sequence
    words = header.view(">u4")
    words[:, 1] = timestamp
    words[:, 2] = ssrc
    packets[:count, :HEADER_BYTES] = header
