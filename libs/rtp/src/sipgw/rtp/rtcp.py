"""RTCP (RFC 3550 §6): sender and receiver reports, source descriptions, goodbye.

Reading is tolerant: the readable parts of a compound packet are returned, malformed parts are left out. The
caller decides when to send.
"""

import contextlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION, GOODBYE = 200, 201, 202, 203
CNAME = 1
_NTP_OFFSET_S = 2_208_988_800  # from 1900 to 1970
_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IQIII")
_MOST_BLOCKS = 31


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """A receiver's report about one source. Last SR and delay are in 1/65536 s; 0 is none."""

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    highest_sequence: int
    jitter: int
    last_sender_report: int = 0
    delay_since_last_sender_report: int = 0


@dataclass(frozen=True, slots=True)
class SenderReport:
    """A report of a sender. ``ntp_timestamp`` is 32.32 seconds since 1900, the time of ``rtp_timestamp``."""

    ssrc: int
    ntp_timestamp: int
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """A report of a peer that does not send."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """The CNAME of a source; other items are ignored."""

    ssrc: int
    cname: str


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Sources that end."""

    ssrcs: tuple[int, ...]
    reason: str = ""


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye


def build_rtcp(packets: Iterable[RtcpPacket]) -> bytes:
    """Build a compound packet; by the RFC it begins with a report and has a source description."""
    return b"".join(_build(packet) for packet in packets)


def parse_rtcp(data: bytes) -> list[RtcpPacket]:
    """Return the readable parts of a compound packet, in order; unknown packet types are ignored."""
    packets: list[RtcpPacket] = []
    begin = 0
    while begin + 4 <= len(data):
        first, packet_type, words = struct.unpack_from("!BBH", data, begin)
        end = begin + 4 + 4 * words
        if first & 0xC0 != 0x80 or end > len(data):
            break
        body = data[begin + 4 : end]
        if first & 0x20 and body:
            body = body[: max(len(body) - body[-1], 0)]
        with contextlib.suppress(struct.error):  # shorter than its counts say
            packets += _parse(packet_type, first & 0x1F, body)
        begin = end
    return packets


def ntp_timestamp(unix_ms: int) -> int:
    """Convert milliseconds since 1970 to the 64 bits of a sender report."""
    seconds, milliseconds = divmod(unix_ms, 1000)
    return ((seconds + _NTP_OFFSET_S) << 32 | (milliseconds << 32) // 1000) & 0xFFFFFFFFFFFFFFFF


def middle_32_bits(ntp: int) -> int:
    """Return the bits by which report blocks name a sender report."""
    return ntp >> 16 & 0xFFFFFFFF


def round_trip_s(block: ReportBlock, received_at_ntp: int) -> float | None:
    """Return the time from our sender report to its answer (RFC 3550 §6.4.1).

    None without one, or when it makes no sense.
    """
    if not block.last_sender_report:
        return None
    sent = block.last_sender_report + block.delay_since_last_sender_report
    elapsed = (middle_32_bits(received_at_ntp) - sent) & 0xFFFFFFFF
    return elapsed / 65536 if elapsed < 1 << 31 else None


def _build(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport():
            sender = _SENDER.pack(
                packet.ssrc,
                packet.ntp_timestamp,
                packet.rtp_timestamp,
                packet.packet_count & 0xFFFFFFFF,
                packet.octet_count & 0xFFFFFFFF,
            )
            blocks = packet.reports[:_MOST_BLOCKS]
            return _frame(SENDER_REPORT, len(blocks), sender + b"".join(map(_build_block, blocks)))
        case ReceiverReport():
            blocks = packet.reports[:_MOST_BLOCKS]
            body = struct.pack("!I", packet.ssrc) + b"".join(map(_build_block, blocks))
            return _frame(RECEIVER_REPORT, len(blocks), body)
        case SourceDescription():
            cname = _short_text(packet.cname)
            item = bytes([CNAME, len(cname)]) + cname + b"\0"  # the zero ends the items
            return _frame(SOURCE_DESCRIPTION, 1, struct.pack("!I", packet.ssrc) + item)
        case Goodbye():
            reason = _short_text(packet.reason)
            tail = bytes([len(reason)]) + reason if reason else b""
            ssrcs = packet.ssrcs[:_MOST_BLOCKS]
            return _frame(GOODBYE, len(ssrcs), struct.pack(f"!{len(ssrcs)}I", *ssrcs) + tail)


def _frame(packet_type: int, count: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("!BBH", 0x80 | count, packet_type, len(body) // 4) + body


def _build_block(block: ReportBlock) -> bytes:
    lost = max(-0x800000, min(block.cumulative_lost, 0x7FFFFF)) & 0xFFFFFF
    return _BLOCK.pack(
        block.ssrc,
        block.fraction_lost << 24 | lost,
        block.highest_sequence,
        min(block.jitter, 0xFFFFFFFF),
        block.last_sender_report,
        block.delay_since_last_sender_report,
    )


def _parse(packet_type: int, count: int, body: bytes) -> Iterator[RtcpPacket]:
    match packet_type:
        case 200:
            ssrc, ntp, rtp, packets, octets = _SENDER.unpack_from(body)
            blocks = _parse_blocks(body, _SENDER.size, count)
            yield SenderReport(ssrc, ntp, rtp, packets, octets, blocks)
        case 201:
            (ssrc,) = struct.unpack_from("!I", body)
            yield ReceiverReport(ssrc, _parse_blocks(body, 4, count))
        case 202:
            yield from _parse_descriptions(body, count)
        case 203:
            ssrcs = struct.unpack_from(f"!{count}I", body)
            length = body[4 * count] if len(body) > 4 * count else 0
            yield Goodbye(ssrcs, _text(body[4 * count + 1 : 4 * count + 1 + length]))
        case _:
            return


def _parse_blocks(body: bytes, begin: int, count: int) -> tuple[ReportBlock, ...]:
    """Return as many report blocks as there are."""
    blocks: list[ReportBlock] = []
    for at in range(begin, min(begin + count * _BLOCK.size, len(body) - _BLOCK.size + 1), _BLOCK.size):
        ssrc, loss, highest, jitter, last, delay = _BLOCK.unpack_from(body, at)
        lost = (loss & 0xFFFFFF) - (0x1000000 if loss & 0x800000 else 0)
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last, delay))
    return tuple(blocks)


def _parse_descriptions(body: bytes, count: int) -> Iterator[SourceDescription]:
    at = 0
    for _ in range(count):
        (ssrc,) = struct.unpack_from("!I", body, at)
        at += 4
        while at + 1 < len(body) and body[at]:
            if body[at] == CNAME:
                yield SourceDescription(ssrc, _text(body[at + 2 : at + 2 + body[at + 1]]))
            at += 2 + body[at + 1]
        at += 4 - at % 4  # the zero that ends the items, and padding to the next word


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _short_text(text: str) -> bytes:
    """Encode text in at most the 255 bytes that a length byte can count, without cutting a character."""
    return text.encode("utf-8", "replace")[:255].decode("utf-8", "ignore").encode()
