"""Transmitter: RTP to the callers, paced by each call's own clock, never by arriving packets.

After a stall a call sends at most two late packets and skips the rest: the timestamp advances by the lost
time, the sequence by one (RFC 3550 §5.1), so that no delay stays. Keys (RFC 4733) go out in place of audio,
which waits.
"""

import operator
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat
from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.pipeline.stage import TICK_MS, Tick
from sipgw.media_relay.rtp.excess_drop import drop_excess
from sipgw.media_relay.rtp.playout import PlayoutQueue
from sipgw.media_relay.rtp.uplink import NEVER
from sipgw.rtp.packet import RtpPacket
from sipgw.rtp.packet_batch import HEADER_BYTES, write_headers
from sipgw.rtp.telephone_event import DtmfSender

Rows = npt.NDArray[np.intp]
Send = Callable[[Any], object]

MOST_LATE: Final = 2
_BATCH: Final = 2048
# Calls its first argument with the second, in C.
_call = cast("Callable[[Callable[[Any], object], memoryview], object]", operator.call)


@dataclass(slots=True)
class _DigitsOut:
    """Keys that are being sent to one caller."""

    sender: DtmfSender
    payload_type: int


class Transmitter:
    """Columns of `rows` calls."""

    def __init__(self, rows: int, playout: PlayoutQueue, pipeline: MediaPipeline) -> None:
        self._playout = playout
        self._pipeline = pipeline
        self._formats: list[AudioFormat] = []
        self._format = np.zeros(rows, np.uint8)
        self._next = np.full(rows, NEVER, np.int64)
        self._period = np.full(rows, 4, np.int64)
        self._step = np.full(rows, 160, np.int64)
        """Timestamp units of a packet."""
        self._payload_type = np.zeros(rows, np.uint8)
        self.ssrc = np.zeros(rows, np.uint32)
        self._sequence = np.zeros(rows, np.uint16)
        self._timestamp = np.zeros(rows, np.uint32)
        self._frame_seq = np.zeros(rows, np.uint64)
        self._marker = np.zeros(rows, np.bool_)
        self._is_sending = np.zeros(rows, np.bool_)
        self._send: list[Send | None] = [None] * rows
        self._started: set[int] = set()
        self._held: set[int] = set()
        self._paused_at: dict[int, int] = {}
        """When the next packet of a held row was due."""
        self._digits: dict[int, _DigitsOut] = {}
        self._has_digits = np.zeros(rows, np.bool_)
        self._has_spoken = np.zeros(rows, np.bool_)
        self.sent = np.zeros(rows, np.int64)
        self.octets = np.zeros(rows, np.int64)
        self.spoke: list[int] = []
        """Rows whose bot was heard for the first time. The owner empties it."""
        self.consumed: list[Rows] = []
        """Rows that took audio in this tick. The owner empties it."""
        self.send_errors = 0
        self.skipped = 0
        """Packets left out after stalls."""
        self._packets: dict[int, tuple[npt.NDArray[np.uint8], list[memoryview]]] = {}

    def open(self, row: int) -> None:
        """Open a row for a new call, with a random SSRC, sequence and timestamp (RFC 3550 §5.1)."""
        self.ssrc[row] = secrets.randbits(32)
        self._sequence[row] = secrets.randbits(15)
        self._timestamp[row] = secrets.randbits(32)
        self._frame_seq[row] = self.sent[row] = self.octets[row] = 0
        self._next[row] = NEVER
        self._marker[row] = True
        self._has_spoken[row] = self._has_digits[row] = False
        self._send[row] = None
        self._forget_hold(row)

    def configure(self, row: int, audio_format: AudioFormat, *, payload_type: int, is_sending: bool) -> None:
        """Set the wire's format, whose frame is the packet time.

        On hold (not sending) audio is used up unheard.
        """
        if audio_format not in self._formats:
            self._formats.append(audio_format)
        self._format[row] = self._formats.index(audio_format)
        self._period[row] = audio_format.frame_ms // TICK_MS
        self._step[row] = audio_format.frame_samples
        self._payload_type[row] = payload_type
        self._is_sending[row] = is_sending
        self._playout.set_audible(row, audible=is_sending)

    def set_sender(self, row: int, send: Send | None) -> None:
        """Set what sends a datagram to the caller; None while its address is unknown."""
        self._send[row] = send

    def start(self, row: int, tick_number: int) -> None:
        """Begin to send, unless it has begun. Calls are spread over the phases of their period."""
        if row not in self._started:
            self._started.add(row)
            if row not in self._held:
                self._go_on(row, tick_number)

    def hold(self, row: int, tick_number: int, *, is_held: bool) -> None:
        """Send nothing and leave the audio in its queue, or go on with it."""
        if is_held == (row in self._held):
            return
        if is_held:
            self._held.add(row)
            if row in self._started:
                self._paused_at[row], self._next[row] = int(self._next[row]), NEVER
        else:
            self._held.discard(row)
            if row in self._started:
                self._go_on(row, tick_number)

    @property
    def held(self) -> int:
        """How many rows are held."""
        return len(self._held)

    def is_held(self, row: int) -> bool:
        """Return whether the row is held."""
        return row in self._held

    def close(self, row: int) -> None:
        """Send nothing more for the row."""
        self._next[row] = NEVER
        self._forget_hold(row)
        self._send[row] = None
        self._digits.pop(row, None)
        self._has_digits[row] = False

    def send_digits(self, row: int, sender: DtmfSender, *, payload_type: int, clock_rate_hz: int) -> None:
        """Send keys from the row's next packet on, after those under way."""
        self._digits[row] = _DigitsOut(sender, payload_type)
        self._has_digits[row] = True

    def is_sending_digits(self, row: int) -> bool:
        """Return whether keys are being sent to the row's caller."""
        return bool(self._has_digits[row])

    def timestamp(self, row: int) -> int:
        """Return the timestamp of the next packet, for sender reports."""
        return int(self._timestamp[row])

    def run(self, tick: Tick) -> None:
        """Send the packets that are due."""
        due = np.flatnonzero(self._next <= tick.number)
        if not len(due):
            return
        self._skip_lost(due, tick)
        pressing = self._has_digits[due]
        if pressing.any():
            for i in np.flatnonzero(pressing).tolist():
                pressing[i] = self._send_digit_packet(int(due[i]))
            self._advance(due[pressing])
            self._drop_finished_digits()
            due = due[~pressing]
        for begin in range(0, len(due), _BATCH):
            self._run_groups(due[begin : begin + _BATCH], tick)

    def _run_groups(self, due: Rows, tick: Tick) -> None:
        formats = self._format[due]
        if (formats == formats[0]).all():
            self._send_audio(due, self._formats[int(formats[0])], tick)
            return
        for number, audio_format in enumerate(self._formats):
            if len(alike := due[formats == number]):
                self._send_audio(alike, audio_format, tick)

    def _skip_lost(self, due: Rows, tick: Tick) -> None:
        lost = (tick.number - self._next[due]) // self._period[due] - MOST_LATE
        if not (lost > 0).any():
            return
        rows, lost = due[lost > 0], lost[lost > 0]
        self.skipped += int(lost.sum())
        self._next[rows] += lost * self._period[rows]
        self._timestamp[rows] += (lost * self._step[rows]).astype(np.uint32)
        self._frame_seq[rows] += lost.astype(np.uint64)
        self._marker[rows] = True

    def _send_audio(self, rows: Rows, audio_format: AudioFormat, tick: Tick) -> None:
        drop_excess(self._playout, rows, audio_format, tick.at_s)
        payload, idle = self._playout.take(rows, audio_format.frame_bytes, tick.at_s)
        self.consumed.append(rows)
        block = self._pipeline.downlink(
            FrameBlock(
                audio_format,
                rows.astype(np.uint32),
                self._frame_seq[rows],
                payload,
                np.full(len(rows), audio_format.frame_bytes, np.int32),
                idle.astype(np.uint8) * np.uint8(FrameFlag.IDLE),
            ),
            tick,
        )
        speaking = ~idle & self._is_sending[rows]
        first = speaking & ~self._has_spoken[rows]
        if first.any():
            self._has_spoken[rows[first]] = True
            self.spoke.extend(rows[first].tolist())
        self._transmit(rows, block.payload)
        self._advance(rows)

    def _transmit(self, rows: Rows, payload: npt.NDArray[np.uint8]) -> None:
        sending = self._is_sending[rows]
        if not sending.all():
            rows, payload = rows[sending], payload[sending]
            if not len(rows):
                return
        packets, views = self._buffers(payload.shape[1])
        count = len(rows)
        packets[:count, HEADER_BYTES:] = payload
        write_headers(
            packets[:count],
            payload_type=self._payload_type[rows],
            marker=self._marker[rows],
            sequence=self._sequence[rows],
            timestamp=self._timestamp[rows],
            ssrc=self.ssrc[rows],
        )
        send_of_row = self._send
        self._send_all([send_of_row[row] or _to_nobody for row in rows.tolist()], views)
        self._sequence[rows] += np.uint16(1)
        self._marker[rows] = False
        self.sent[rows] += 1
        self.octets[rows] += payload.shape[1]

    def _send_all(self, sends: list[Send], views: list[memoryview]) -> None:
        """Call each with its packet. The interpreter's own loop does it; an error costs one packet only."""
        done: list[object] = []
        calls = map(_call, sends, views)
        while True:
            try:
                done.extend(calls)
            except OSError:  # a full buffer, or an ICMP error of an earlier packet
                self.send_errors += 1
            else:
                return

    def _send_digit_packet(self, row: int) -> bool:
        """Send the row's next key packet, if a key is due in this period."""
        digits = self._digits[row]
        event = digits.sender.next_packet(int(self._timestamp[row]))
        if event is None:
            return False
        if not self._is_sending[row]:
            return True
        packet = RtpPacket(
            payload_type=digits.payload_type,
            sequence=int(self._sequence[row]),
            timestamp=event.timestamp & 0xFFFFFFFF,
            ssrc=int(self.ssrc[row]),
            marker=event.marker,
            payload=event.payload,
        )
        self._send_all([self._send[row] or _to_nobody], [memoryview(packet.to_bytes())])
        self._sequence[row] += np.uint16(1)
        self.sent[row] += 1
        self.octets[row] += len(event.payload)
        return True

    def _drop_finished_digits(self) -> None:
        for row in [row for row, digits in self._digits.items() if digits.sender.is_finished]:
            del self._digits[row]
            self._has_digits[row] = False
            self._marker[row] = True

    def _advance(self, rows: Rows) -> None:
        self._next[rows] += self._period[rows]
        self._timestamp[rows] += self._step[rows].astype(np.uint32)
        self._frame_seq[rows] += np.uint64(1)

    def _go_on(self, row: int, tick_number: int) -> None:
        """Let the row's clock run. The time of a pause passes in its timestamps (RFC 3550 §5.1)."""
        period = int(self._period[row])
        due = tick_number + 1 + (row - tick_number - 1) % period
        if row in self._paused_at:
            lost = max(due - self._paused_at.pop(row), 0) // period
            self._timestamp[row] = (int(self._timestamp[row]) + lost * int(self._step[row])) & 0xFFFFFFFF
            self._frame_seq[row] = int(self._frame_seq[row]) + lost
            self._marker[row] |= lost > 0
        self._next[row] = due

    def _forget_hold(self, row: int) -> None:
        self._started.discard(row)
        self._held.discard(row)
        self._paused_at.pop(row, None)

    def _buffers(self, length: int) -> tuple[npt.NDArray[np.uint8], list[memoryview]]:
        if length not in self._packets:
            packets = np.zeros((_BATCH, HEADER_BYTES + length), np.uint8)
            self._packets[length] = packets, [row.data for row in packets]
        return self._packets[length]


def _to_nobody(_datagram: object) -> None:
    """Discard the datagram: the caller's address is not known yet."""
