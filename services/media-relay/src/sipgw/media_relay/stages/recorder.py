"""RecorderStage: records caller (left) and bot (right), aligned by the relay's clock.

Half a second of audio gathers in columns, then the call's piece goes to the writer thread. The first piece is
shorter, depending on the row, so that calls which began together do not all hand over in one tick.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat, PayloadU8
from sipgw.media_relay.pipeline.block import FrameBlock
from sipgw.media_relay.pipeline.stage import TICK_MS, Tick
from sipgw.media_relay.stages.recording_writer import RecordingPiece, RecordingWriter
from sipgw.rtp.slot_ring import SLOT_BYTES, SlotRing

PIECE: Final = 4000
"""Half a second, in bytes of one channel."""
_SLOTS: Final = 4 * PIECE // SLOT_BYTES
_SHORTER: Final = 2 * SLOT_BYTES
"""By how much a row's first piece is shorter than the previous row's."""
_BYTES_A_TICK: Final = 8 * TICK_MS
_LEFT, _RIGHT = 0, 1


class RecorderStage:
    """Hears all rows that are recorded and takes none."""

    def __init__(self, rows: int, writer: RecordingWriter) -> None:
        self._writer = writer
        self._is_mine = np.zeros(rows, np.bool_)
        self._ring = SlotRing(2 * rows, _SLOTS)
        """Indexed by row * 2 + channel."""
        self._number = np.zeros(rows, np.int64)
        self._formats: dict[int, AudioFormat] = {}
        """By row."""
        self._planned: dict[int, Path] = {}
        """By row."""
        self._origin = np.full(rows, -1, np.int64)
        """The tick of the first frame of either side."""
        self._base = np.zeros((rows, 2), np.int64)
        """The position of frame 0."""
        self._has_base = np.zeros((rows, 2), np.bool_)
        self._reached = np.zeros((rows, 2), np.int64)
        self._flushed = np.zeros(rows, np.int64)
        self._due = np.zeros(rows, np.int64)
        """The position at which the present piece ends."""
        self._last_number = 0

    def open(self, row: int, path: Path, audio_format: AudioFormat) -> None:
        """Record the row from now on, at `path`, or beside it when that name is taken."""
        self._last_number += 1
        self._number[row] = self._last_number
        self._formats[row] = audio_format
        self._planned[row] = path
        self._origin[row] = -1
        self._has_base[row] = False
        self._reached[row] = 0
        self._flushed[row] = 0
        self._due[row] = PIECE - row * _SHORTER % PIECE
        for channel in (_LEFT, _RIGHT):
            self._ring.reset_row(2 * row + channel, audio_format.silence)
        self._is_mine[row] = True
        self._writer.begin(self._last_number, path, audio_format.rate_hz)

    def recode(self, row: int, audio_format: AudioFormat, table: PayloadU8) -> None:
        """Go on in another codec: `table` (256,) translates the bytes."""
        if self._is_mine[row]:
            self._formats[row] = audio_format
            for channel in (_LEFT, _RIGHT):
                self._ring.recode_row(2 * row + channel, table)

    def path(self, row: int) -> str:
        """Return where the row's recording is; empty when there is none, or none could be made."""
        if not self._is_mine[row]:
            return ""
        return str(self._writer.path(int(self._number[row]), self._planned[row]) or "")

    def close(self, row: int) -> None:
        """Write the rest and end the file."""
        if not self._is_mine[row]:
            return
        self._is_mine[row] = False
        rest = int(self._reached[row].max() - self._flushed[row])
        if rest > 0:
            self._flush(row, min(rest, self._ring.capacity))
        audio_format = self._formats.pop(row)
        del self._planned[row]
        self._writer.write(RecordingPiece(int(self._number[row]), 0, audio_format, None, None))

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Record the callers' side; see Stage."""
        self._keep(block, tick, _LEFT)
        return block

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Record the bots' side; see Stage."""
        self._keep(block, tick, _RIGHT)
        return block

    def _keep(self, block: FrameBlock, tick: Tick, channel: int) -> None:
        mine = self._is_mine[block.rows]
        if not mine.any():
            return
        everything = bool(mine.all())
        rows = block.rows if everything else block.rows[mine]
        payload = block.payload if everything else block.payload[mine]
        seq = (block.seq if everything else block.seq[mine]).astype(np.int64)
        length = block.format.frame_bytes
        self._set_bases(rows, seq * length, tick, channel)
        positions = self._base[rows, channel] + seq * length
        fits = self._make_room(rows, positions + length)
        if not fits.all():
            rows, positions, payload = rows[fits], positions[fits], payload[fits]
        self._ring.write(rows.astype(np.int64) * 2 + channel, positions, payload)
        self._reached[rows, channel] = positions + length
        whole = self._reached[rows].min(axis=1) >= self._due[rows]
        for row in rows[whole].tolist():
            self._flush(row, int(self._due[row] - self._flushed[row]))

    def _set_bases(
        self, rows: npt.NDArray[np.integer], offsets: npt.NDArray[np.int64], tick: Tick, channel: int
    ) -> None:
        """Set where the row's frames begin: both channels begin when the first frame of either comes."""
        new = ~self._has_base[rows, channel]
        if not new.any():
            return
        fresh = rows[new]
        unset = fresh[self._origin[fresh] < 0]
        self._origin[unset] = tick.number
        begin = (tick.number - self._origin[fresh]) * _BYTES_A_TICK // SLOT_BYTES * SLOT_BYTES
        self._base[fresh, channel] = np.maximum(begin, self._flushed[fresh]) - offsets[new]
        self._has_base[fresh, channel] = True

    def _make_room(self, rows: npt.NDArray[np.integer], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Flush rows of which one side is ahead, after a stall or while the other side stays silent."""
        for i in np.flatnonzero(ends - self._flushed[rows] > self._ring.capacity).tolist():
            row = int(rows[i])
            while ends[i] - self._flushed[row] > self._ring.capacity:
                self._flush(row, PIECE)
        starts_late = ends - self._flushed[rows] > 0
        return starts_late & (ends - self._flushed[rows] <= self._ring.capacity)

    def _flush(self, row: int, length: int) -> None:
        """Hand the next `length` bytes of both channels to the writer."""
        start, audio_format = int(self._flushed[row]), self._formats[row]
        left, right = (
            self._ring.take_row(2 * row + channel, start, length, audio_format.silence)
            for channel in (_LEFT, _RIGHT)
        )
        self._flushed[row], self._due[row] = start + length, start + length + PIECE
        self._writer.write(RecordingPiece(int(self._number[row]), start, audio_format, left, right))
