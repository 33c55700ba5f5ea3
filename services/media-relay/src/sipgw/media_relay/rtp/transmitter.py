"""Transmitter: RTP to the callers, paced by each call's own clock, never by arriving packets.

After a stall a call sends at most two late packets and skips the rest: the timestamp advances by the lost
time, the sequence by one (RFC 3550 §5.1), so that no delay stays. Keys (RFC 4733) go out in place of audio,
which waits.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat, PayloadU8
from sipgw.media_relay.kernels.events import EVENT, MARK_REACHED, SPOKE, TOTALS
from sipgw.media_relay.kernels.quiet import LoudnessI32
from sipgw.media_relay.kernels.transmit import (
    EVENTS_A_ROW,
    HEADER_BYTES,
    advance,
    send_frames,
    skip_lost,
    take_downlink,
)
from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.pipeline.stage import TICK_MS, Tick
from sipgw.media_relay.rtp.frames import FormatFrames, FormatNumbers, Take
from sipgw.media_relay.rtp.playout import PlayoutQueue
from sipgw.rtp.kernels.columns import NEVER
from sipgw.rtp.packet import RtpPacket
from sipgw.rtp.telephone_event import DtmfSender

Send = Callable[[Any], object]
_ROWS_TOGETHER = 32
"""Calls that are sent to in the same tick: few calls cost one tick, many are spread over all ticks."""
_IDLE = int(FrameFlag.IDLE)


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """The packets of one format."""

    packets: npt.NDArray[np.uint8]
    """Those that Python sends."""
    send: Callable[..., int]
    """The kernel that sends, with its memory given."""


@dataclass(slots=True)
class _DigitsOut:
    """Keys that are being sent to one caller."""

    sender: DtmfSender
    payload_type: int


class Transmitter:
    """Sends to all calls."""

    def __init__(self, playout: PlayoutQueue, pipeline: MediaPipeline) -> None:
        calls = playout.calls
        rows = len(calls)
        self._calls = calls
        self._playout = playout
        self._pipeline = pipeline
        self._formats = FormatNumbers(rows, self._bind)
        self._outgoing: list[_Outgoing] = []
        """The packets of each format, by its number."""
        self._send: list[Send | None] = [None] * rows
        self._started: set[int] = set()
        self._held: set[int] = set()
        self._paused_at: dict[int, int] = {}
        """When the next packet of a held row was due."""
        self._digits: dict[int, _DigitsOut] = {}
        columns = calls["sending"]
        columns["next"] = NEVER
        columns["fd"] = -1
        self._next: npt.NDArray[np.int64] = columns["next"]
        self.ssrc: npt.NDArray[np.uint32] = columns["ssrc"]
        self.sent: npt.NDArray[np.int64] = columns["sent"]
        self.octets: npt.NDArray[np.int64] = columns["octets"]
        self.spoke: list[int] = []
        """Rows whose bot was heard for the first time. The owner empties it."""
        self._used = 0
        """All rows whose clock runs are below this row."""
        self._events = np.zeros(EVENTS_A_ROW * rows, EVENT)
        self._totals = np.zeros(1, TOTALS)
        self._consumed_rows = np.zeros(rows, np.int64)
        self._consumed_bytes = np.zeros(rows, np.int64)
        self._rows = np.zeros(rows, np.uint32)
        self._seq = np.zeros(rows, np.uint64)
        self._flags = np.zeros(rows, np.uint8)
        self._unsent = np.zeros(rows, np.int64)
        self._memory = (
            calls,
            playout.rings,
            self._events,
            self._totals,
            self._consumed_rows,
            self._consumed_bytes,
            self._rows,
            self._seq,
            self._flags,
        )

    def open(self, row: int) -> None:
        """Open a row for a new call, with a random SSRC, sequence and timestamp (RFC 3550 §5.1)."""
        sending = self._calls[row]["sending"]
        sending["ssrc"] = secrets.randbits(32)
        sending["sequence"] = secrets.randbits(15)
        sending["timestamp"] = secrets.randbits(32)
        sending["frame_seq"] = sending["sent"] = sending["octets"] = 0
        sending["next"] = NEVER
        sending["marker"] = True
        sending["has_spoken"] = False
        self.set_sender(row, None)
        self._digits.pop(row, None)
        self._forget_hold(row)

    @property
    def send_errors(self) -> int:
        """Packets that the system refused to send."""
        return int(self._totals[0]["send_errors"])

    @property
    def skipped(self) -> int:
        """Packets left out after stalls."""
        return int(self._totals[0]["skipped"])

    def configure(self, row: int, audio_format: AudioFormat, *, payload_type: int, is_sending: bool) -> None:
        """Set the wire's format, whose frame is the packet time.

        On hold (not sending) audio is used up unheard.
        """
        sending = self._calls[row]["sending"]
        sending["format"] = self._number_of(audio_format)
        sending["period"] = audio_format.frame_ms // TICK_MS
        sending["step"] = audio_format.frame_samples
        sending["payload_type"] = payload_type
        sending["is_sending"] = is_sending
        self._playout.set_audible(row, audible=is_sending)

    def set_sender(self, row: int, send: Send | None, fd: int = -1) -> None:
        """Set the function that sends a datagram to the caller; None while the caller's address is unknown.

        `fd` is the socket connected to the caller, if there is one: audio then does not use `send`.
        """
        self._send[row] = send
        self._calls["sending"]["fd"][row] = fd

    def start(self, row: int, tick_number: int) -> None:
        """Begin to send, unless it has begun. Groups of calls are spread over the phases of their period."""
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
        self.set_sender(row, None)
        self._digits.pop(row, None)
        while self._used and self._next[self._used - 1] == NEVER:
            self._used -= 1

    def send_digits(self, row: int, sender: DtmfSender, *, payload_type: int, clock_rate_hz: int) -> None:
        """Send keys from the row's next packet on, after those under way."""
        self._digits[row] = _DigitsOut(sender, payload_type)

    def is_sending_digits(self, row: int) -> bool:
        """Return whether keys are being sent to the row's caller."""
        return row in self._digits

    def timestamp(self, row: int) -> int:
        """Return the timestamp of the next packet, for sender reports."""
        return int(self._calls["sending"]["timestamp"][row])

    def run(self, tick: Tick) -> None:
        """Send the packets that are due."""
        self._totals[0]["events"] = self._totals[0]["consumed"] = 0
        if self._digits:
            self._send_digits(tick)
        for number, each in enumerate(self._formats.frames):
            if count := each.take(number, self._used, _IDLE, tick.number, tick.at_s):
                self._send_audio(each, self._outgoing[number], count, tick)
        self._follow_up()

    @property
    def consumed(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows whose bots are due a report of used-up speech, and the bytes used up since `open`."""
        count = int(self._totals[0]["consumed"])
        return self._consumed_rows[:count], self._consumed_bytes[:count]

    def _send_audio(self, each: FormatFrames, outgoing: _Outgoing, count: int, tick: Tick) -> None:
        """Pass the frames taken through the pipeline and send them."""
        block = FrameBlock(
            each.audio,
            self._rows[:count],
            self._seq[:count],
            each.payload[:count],
            each.lengths[:count],
            self._flags[:count],
        )
        block = self._pipeline.downlink(block, tick)
        unsent = outgoing.send(np.ascontiguousarray(block.rows), np.ascontiguousarray(block.payload))
        for i, row in enumerate(self._unsent[:unsent].tolist()):
            self._send_one(row, outgoing.packets[i].data)

    def _bind(self, payload: PayloadU8, loudness: LoudnessI32) -> Take:
        return take_downlink.bind(*self._memory, payload, loudness)

    def _number_of(self, audio: AudioFormat) -> int:
        """Return the format's number, with memory for its packets."""
        number = self._formats.number_of(audio)
        if number == len(self._outgoing):
            packets = np.zeros((len(self._calls) + 1, HEADER_BYTES + audio.frame_bytes), np.uint8)
            send = send_frames.bind(self._calls, self._totals, packets, self._unsent)
            self._outgoing.append(_Outgoing(packets, send))
        return number

    def _send_one(self, row: int, packet: memoryview) -> None:
        send = self._send[row]
        if send is None:  # the caller's address is not known yet
            return
        try:
            send(packet)
        except OSError:  # a full buffer, or an ICMP error of an earlier packet
            self._totals[0]["send_errors"] += 1

    def _follow_up(self) -> None:
        """Handle the events that the kernel left to Python."""
        if not (count := self._totals[0]["events"]):
            return
        for event in self._events[:count].copy():
            kind, row = int(event["kind"]), int(event["row"])
            if kind == SPOKE:
                self.spoke.append(row)
            elif kind == MARK_REACHED:
                self._playout.fire_marks(row)
            else:
                self._playout.advance(row)

    def _send_digits(self, tick: Tick) -> None:
        """Send the key packets that are due. A row without one in this period sends audio."""
        for row, digits in list(self._digits.items()):
            sending = self._calls[row]["sending"]
            if sending["next"] > tick.number:
                continue
            self._totals[0]["skipped"] += skip_lost(sending, tick.number)
            if self._send_digit_packet(row, digits):
                advance(sending)
            if digits.sender.is_finished:
                del self._digits[row]
                sending["marker"] = True

    def _send_digit_packet(self, row: int, digits: _DigitsOut) -> bool:
        """Send the row's next key packet, if a key is due in this period."""
        sending = self._calls[row]["sending"]
        event = digits.sender.next_packet(int(sending["timestamp"]))
        if event is None:
            return False
        if not sending["is_sending"]:
            return True
        packet = RtpPacket(
            payload_type=digits.payload_type,
            sequence=int(sending["sequence"]),
            timestamp=event.timestamp & 0xFFFFFFFF,
            ssrc=int(sending["ssrc"]),
            marker=event.marker,
            payload=event.payload,
        )
        self._send_one(row, memoryview(packet.to_bytes()))
        sending["sequence"] = (int(sending["sequence"]) + 1) & 0xFFFF
        sending["sent"] += 1
        sending["octets"] += len(event.payload)
        return True

    def _go_on(self, row: int, tick_number: int) -> None:
        """Let the row's clock run. The time of a pause passes in its timestamps (RFC 3550 §5.1)."""
        sending = self._calls[row]["sending"]
        period = int(sending["period"])
        due = tick_number + 1 + (row // _ROWS_TOGETHER - tick_number - 1) % period
        if row in self._paused_at:
            lost = max(due - self._paused_at.pop(row), 0) // period
            sending["timestamp"] = (int(sending["timestamp"]) + lost * int(sending["step"])) & 0xFFFFFFFF
            sending["frame_seq"] += lost
            sending["marker"] |= lost > 0
        sending["next"] = due
        self._used = max(self._used, row + 1)

    def _forget_hold(self, row: int) -> None:
        self._started.discard(row)
        self._held.discard(row)
        self._paused_at.pop(row, None)
