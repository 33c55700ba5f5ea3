"""Uplink: gives the pipeline one frame of each caller's audio by the call's own clock.

A frame that is not there when it is due is awaited for up to three ticks, which moves the call's clock to
where its packets come; a clock that is later than need be moves back. A frame that does not come is silence,
flagged CONCEALED, and uses a sequence number. After a stall a call catches up one frame a tick; audio older
than 200 ms is left out as a jump of the sequence.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat
from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.pipeline.stage import TICK_MS, UPLINK_FRAME_MS, Tick
from sipgw.media_relay.rtp.excess_drop import drop_excess
from sipgw.media_relay.rtp.receiver import RtpReceiver
from sipgw.rtp.jitter_buffer import JitterBuffer

Rows = npt.NDArray[np.intp]

NEVER: Final = 1 << 60
PATIENCE_TICKS: Final = 3
CATCH_UP_MS: Final = 200
_PACKET_TICKS: Final = UPLINK_FRAME_MS // TICK_MS
"""The packet time of nearly all callers, in ticks."""
_NO_SLACK: Final = 1 << 20
_SLACK_WINDOW_TICKS: Final = 1000 // TICK_MS


class Uplink:
    """The clocks of `rows` calls."""

    def __init__(
        self, rows: int, jitter: JitterBuffer, receiver: RtpReceiver, pipeline: MediaPipeline
    ) -> None:
        self._jitter = jitter
        self._receiver = receiver
        self._pipeline = pipeline
        self._formats: list[AudioFormat] = []
        self._format = np.zeros(rows, np.uint8)
        self._next = np.full(rows, NEVER, np.int64)
        self._period = np.full(rows, 4, np.int64)
        self._seq = np.zeros(rows, np.uint64)
        self._waited = np.zeros(rows, np.int64)
        self._flowing = np.zeros(rows, np.bool_)
        self._met = np.zeros(rows, np.bool_)
        self._slack = np.full(rows, _NO_SLACK, np.int64)
        self._slack_since = np.zeros(rows, np.int64)
        self._origin = np.full(rows, NEVER, np.int64)
        """The tick of seq 0, for calls that were on another relay before."""
        self.concealed = 0
        self.left_out = 0
        """Frames left out after stalls."""

    def open(self, row: int, audio_format: AudioFormat, *, keep_seq: bool = False) -> None:
        """Prepare a row. Its clock stands still until `start` or its first packet."""
        if audio_format not in self._formats:
            self._formats.append(audio_format)
        self._format[row] = self._formats.index(audio_format)
        self._period[row] = audio_format.frame_ms // TICK_MS
        if not keep_seq:
            self._seq[row] = 0
            self._next[row] = NEVER
            self._flowing[row] = self._met[row] = False
            self._waited[row] = 0
            self._origin[row] = NEVER

    def go_on(self, row: int, elapsed_ms: int, tick_number: int) -> None:
        """Continue a call that began `elapsed_ms` ago on another relay: frames are counted from then."""
        self._origin[row] = tick_number - elapsed_ms // TICK_MS

    def start(self, row: int, tick_number: int) -> None:
        """Let the clock run from now on, unless it runs."""
        if self._next[row] == NEVER:
            self._begin(row, tick_number)
            self._next[row] = tick_number

    def align(self, row: int, tick_number: int) -> None:
        """Make a frame due with its last packet: the caller's stream begins."""
        if not self._met[row]:
            if self._next[row] == NEVER:
                self._begin(row, tick_number)
            self._met[row] = self._flowing[row] = True
            self._next[row] = tick_number + max(int(self._period[row]) - _PACKET_TICKS, 0)

    def close(self, row: int) -> None:
        """Stop the row's clock."""
        self._next[row] = NEVER

    def _begin(self, row: int, tick_number: int) -> None:
        if self._origin[row] != NEVER:
            self._seq[row] = max(tick_number - int(self._origin[row]), 0) // int(self._period[row])

    def run(self, tick: Tick) -> None:
        """Send the frames that are due through the pipeline."""
        due = np.flatnonzero(self._next <= tick.number)
        if not len(due):
            return
        self._leave_out(due, tick)
        formats = self._format[due]
        for number, audio_format in enumerate(self._formats):
            alike = due if (formats == number).all() else due[formats == number]
            ready = self._wait(alike, audio_format) if len(alike) else alike
            if len(ready):
                self._send(ready, audio_format, tick)

    def _leave_out(self, due: Rows, tick: Tick) -> None:
        """Skip the frames that a stall has made too old."""
        period = self._period[due]
        lost = (tick.number - self._next[due]) // period - CATCH_UP_MS // (period * TICK_MS)
        if not (lost > 0).any():
            return
        rows, lost = due[lost > 0], lost[lost > 0]
        self.left_out += int(lost.sum())
        self._seq[rows] += lost.astype(np.uint64)
        self._next[rows] += lost * self._period[rows]
        for number, audio_format in enumerate(self._formats):
            alike = self._format[rows] == number
            if alike.any():
                self._jitter.leap(rows[alike], lost[alike] * audio_format.frame_bytes)

    def _wait(self, due: Rows, audio_format: AudioFormat) -> Rows:
        """Put off by a tick the rows whose frame may still come; return the others."""
        waits = self._flowing[due] & (self._waited[due] < PATIENCE_TICKS)
        waits &= ~self._jitter.has_frame(due, audio_format.frame_bytes)
        if not waits.any():
            return due
        waiting = due[waits]
        self._next[waiting] += 1
        self._waited[waiting] += 1
        return due[~waits]

    def _send(self, rows: Rows, audio_format: AudioFormat, tick: Tick) -> None:
        drop_excess(self._jitter, rows, audio_format, tick.at_s)
        payload, concealed = self._jitter.take(rows, audio_format.frame_bytes, tick.at_s)
        in_vain = np.where(concealed, self._waited[rows], 0)
        self._next[rows] += self._period[rows] - in_vain
        self._waited[rows] = 0
        self._flowing[rows] = ~concealed
        self._measure_slack(rows, tick)
        block = FrameBlock(
            audio_format,
            rows.astype(np.uint32),
            self._seq[rows],
            payload,
            np.full(len(rows), audio_format.frame_bytes, np.int32),
            concealed.astype(np.uint8) * np.uint8(FrameFlag.CONCEALED),
        )
        self._seq[rows] += np.uint64(1)
        self.concealed += int(concealed.sum())
        self._pipeline.uplink(block, tick)

    def _measure_slack(self, rows: Rows, tick: Tick) -> None:
        """Move back by a tick the clocks whose packets all came at least a tick early, for a second."""
        early = np.where(
            self._jitter.depth(rows) > 0, _NO_SLACK, tick.number - self._receiver.last_audio[rows]
        )
        self._slack[rows] = np.minimum(self._slack[rows], early)
        over = tick.number - self._slack_since[rows] >= _SLACK_WINDOW_TICKS
        if over.any():
            judged = rows[over]
            slack = self._slack[judged]
            self._next[judged] -= (slack >= 1) & (slack < self._period[judged]) & self._flowing[judged]
            self._slack[judged] = _NO_SLACK
            self._slack_since[judged] = tick.number
