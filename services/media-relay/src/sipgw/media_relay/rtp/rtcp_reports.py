"""RtcpReports: send reports (RFC 3550 §6.4) every five seconds a call, and read the caller's."""

import secrets
import time
from typing import Final

import numpy as np

from sipgw.media_relay.pipeline.stage import TICK_MS
from sipgw.media_relay.rtp.receiver import RtpReceiver
from sipgw.media_relay.rtp.transmitter import Transmitter
from sipgw.rtp.kernels.columns import NEVER
from sipgw.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    build_rtcp,
    middle_32_bits,
    ntp_timestamp,
    parse_rtcp,
    round_trip_s,
)

INTERVAL_TICKS: Final = 5000 // TICK_MS


class RtcpReports:
    """Columns of `rows` calls. Each report is built singly, a few hundred a second at most."""

    def __init__(self, rows: int, receiver: RtpReceiver, transmitter: Transmitter) -> None:
        self._receiver = receiver
        self._transmitter = transmitter
        self._next = np.full(rows, NEVER, np.int64)
        self._soonest = NEVER
        """No report is due before this tick."""
        self._cname = [""] * rows
        self._last_report = np.zeros(rows, np.int64)
        """The middle 32 bits of the caller's last sender report."""
        self._last_report_ms = np.zeros(rows, np.int64)
        self.round_trip_ms = np.full(rows, np.nan)
        self.jitter_by_caller = np.full(rows, np.nan)
        """The jitter that the caller reports of our packets, in timestamp units."""
        self.lost_by_caller = np.zeros(rows, np.int64)
        """How many of our packets the caller reports as lost."""

    def start(self, row: int, tick_number: int) -> None:
        """Begin to report for the row, unless it has begun."""
        if self._next[row] == NEVER:
            self._cname[row] = secrets.token_hex(8)
            self._next[row] = tick_number + INTERVAL_TICKS // 2 + secrets.randbelow(INTERVAL_TICKS)
            self._soonest = min(self._soonest, int(self._next[row]))
            self._last_report[row] = self.lost_by_caller[row] = 0
            self.round_trip_ms[row] = self.jitter_by_caller[row] = np.nan

    def close(self, row: int) -> None:
        """Report no more for the row."""
        self._next[row] = NEVER

    def due(self, tick_number: int) -> list[int]:
        """Return the rows whose report is due; set the next at 0.5 to 1.5 intervals (RFC 3550 §6.2)."""
        if tick_number < self._soonest:
            return []
        rows: list[int] = np.flatnonzero(self._next <= tick_number).tolist()
        for row in rows:
            self._next[row] = tick_number + INTERVAL_TICKS // 2 + secrets.randbelow(INTERVAL_TICKS)
        self._soonest = int(self._next.min())
        return rows

    def build(self, row: int, *, ends: bool = False) -> bytes:
        """Build the compound packet, with BYE when the call ends."""
        unix_ms = time.time_ns() // 1_000_000
        ssrc = int(self._transmitter.ssrc[row])
        blocks = self._blocks(row, unix_ms)
        sent = int(self._transmitter.sent[row])
        report: RtcpPacket
        if sent:
            report = SenderReport(
                ssrc,
                ntp_timestamp(unix_ms),
                self._transmitter.timestamp(row),
                sent,
                int(self._transmitter.octets[row]),
                blocks,
            )
        else:
            report = ReceiverReport(ssrc, blocks)
        packets = [report, SourceDescription(ssrc, self._cname[row])]
        return build_rtcp([*packets, Goodbye((ssrc,))] if ends else packets)

    def receive(self, row: int, datagram: bytes) -> None:
        """Take the caller's compound packet. Malformed parts are ignored."""
        unix_ms = time.time_ns() // 1_000_000
        for packet in parse_rtcp(datagram):
            if isinstance(packet, SenderReport):
                self._last_report[row] = middle_32_bits(packet.ntp_timestamp)
                self._last_report_ms[row] = unix_ms
            if isinstance(packet, SenderReport | ReceiverReport):
                for block in packet.reports:
                    if block.ssrc == int(self._transmitter.ssrc[row]):
                        self.lost_by_caller[row] = block.cumulative_lost
                        self.jitter_by_caller[row] = block.jitter
                        round_trip = round_trip_s(block, ntp_timestamp(unix_ms))
                        if round_trip is not None:
                            self.round_trip_ms[row] = round_trip * 1000

    def _blocks(self, row: int, unix_ms: int) -> tuple[ReportBlock, ...]:
        if not self._receiver.has_ssrc[row]:
            return ()
        report = self._receiver.reception.report(row)
        last = int(self._last_report[row])
        delay = (unix_ms - int(self._last_report_ms[row])) * 65536 // 1000 if last else 0
        return (
            ReportBlock(
                int(self._receiver.ssrc[row]),
                report.fraction_lost,
                report.lost,
                report.highest_sequence,
                int(report.jitter),
                last,
                delay & 0xFFFFFFFF,
            ),
        )
