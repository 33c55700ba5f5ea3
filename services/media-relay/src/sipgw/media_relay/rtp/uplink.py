"""Uplink: gives the pipeline one frame of each caller's audio by the call's own clock.

A frame that is missing when it is due is awaited for up to three ticks, which moves the call's clock to the
arrival of its packets; a clock that is later than necessary moves back, faster if it is late by a frame. A
frame that does not arrive is concealed and flagged CONCEALED, and uses a sequence number. After a stall a
call catches up one frame a tick; audio older than 200 ms is left out as a jump of the sequence.
"""

import numpy as np

from sipgw.audio import AudioFormat, PayloadU8
from sipgw.media_relay.kernels.events import TOTALS
from sipgw.media_relay.kernels.quiet import LoudnessI32
from sipgw.media_relay.kernels.uplink import take_uplink
from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.pipeline.stage import TICK_MS, UPLINK_FRAME_MS, Tick
from sipgw.media_relay.rtp.frames import FormatFrames, FormatNumbers, Take
from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.kernels.columns import NEVER
from sipgw.rtp.kernels.jitter import TICK_BYTES

_CONCEALED = int(FrameFlag.CONCEALED)
_PACKET_TICKS = UPLINK_FRAME_MS // TICK_MS
"""The packet time of nearly all callers, in ticks."""


class Uplink:
    """The clocks of all calls."""

    def __init__(self, jitter: JitterBuffer, pipeline: MediaPipeline) -> None:
        calls = jitter.calls
        rows = len(calls)
        self._calls = calls
        self._pipeline = pipeline
        self._formats = FormatNumbers(rows, self._bind)
        columns = calls["uplink"]
        columns["next"] = columns["origin"] = NEVER
        self._used = 0
        """All rows whose clock runs are below this row."""
        self._totals = np.zeros(1, TOTALS)
        self._rows = np.zeros(rows, np.uint32)
        self._seq = np.zeros(rows, np.uint64)
        self._flags = np.zeros(rows, np.uint8)
        self._memory = calls, jitter.rings, jitter.filled, self._totals, self._rows, self._seq, self._flags

    @property
    def concealed(self) -> int:
        """Frames that no packet brought."""
        return int(self._totals[0]["concealed"])

    @property
    def left_out(self) -> int:
        """Frames left out after stalls."""
        return int(self._totals[0]["left_out"])

    def open(self, row: int, audio_format: AudioFormat, *, keep_seq: bool = False) -> None:
        """Prepare a row. Its clock stands still until `start` or its first packet."""
        uplink = self._calls[row]["uplink"]
        uplink["format"] = self._formats.number_of(audio_format)
        uplink["period"] = audio_format.frame_ms // TICK_MS
        if not keep_seq:
            uplink["seq"] = uplink["waited"] = 0
            uplink["next"] = uplink["origin"] = NEVER
            uplink["flowing"] = uplink["met"] = False

    def go_on(self, row: int, elapsed_ms: int, tick_number: int) -> None:
        """Continue a call that began `elapsed_ms` ago on another relay: frames are counted from then."""
        self._calls[row]["uplink"]["origin"] = tick_number - elapsed_ms // TICK_MS

    def start(self, row: int, tick_number: int) -> None:
        """Let the clock run from now on, unless it runs."""
        uplink = self._calls[row]["uplink"]
        if uplink["next"] == NEVER:
            self._begin(row, tick_number)
            self._set_next(row, tick_number)

    def align(self, row: int, tick_number: int) -> None:
        """Make a frame due with its last packet: the caller's stream begins."""
        uplink = self._calls[row]["uplink"]
        if not uplink["met"]:
            if uplink["next"] == NEVER:
                self._begin(row, tick_number)
            uplink["met"] = uplink["flowing"] = True
            self._set_next(row, tick_number + max(int(uplink["period"]) - _PACKET_TICKS, 0))

    def close(self, row: int) -> None:
        """Stop the row's clock."""
        columns = self._calls["uplink"]
        columns["next"][row] = NEVER
        while self._used and columns["next"][self._used - 1] == NEVER:
            self._used -= 1

    def _set_next(self, row: int, tick_number: int) -> None:
        call = self._calls[row]
        call["uplink"]["next"] = tick_number
        call["jitter"]["due"] = call["jitter"]["transit"]["begun"] = tick_number * TICK_BYTES

    def _begin(self, row: int, tick_number: int) -> None:
        self._used = max(self._used, row + 1)
        uplink = self._calls[row]["uplink"]
        if uplink["origin"] != NEVER:
            uplink["seq"] = max(tick_number - int(uplink["origin"]), 0) // int(uplink["period"])

    def run(self, tick: Tick) -> None:
        """Send the frames that are due through the pipeline."""
        for number, frames in enumerate(self._formats.frames):
            if count := frames.take(number, self._used, _CONCEALED, tick.number):
                self._pipeline.uplink(self._block(frames, count), tick)

    def _bind(self, payload: PayloadU8, loudness: LoudnessI32) -> Take:
        return take_uplink.bind(*self._memory, payload, loudness)

    def _block(self, frames: FormatFrames, count: int) -> FrameBlock:
        return FrameBlock(
            frames.audio,
            self._rows[:count],
            self._seq[:count],
            frames.payload[:count],
            frames.lengths[:count],
            self._flags[:count],
        )
