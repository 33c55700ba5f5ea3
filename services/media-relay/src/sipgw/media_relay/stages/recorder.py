"""RecorderStage: records caller (left) and bot (right), aligned by the relay's clock.

A second of audio gathers in columns, then the call's piece goes to the writer thread. The first piece is
shorter, depending on the row, so that calls which began together do not all hand over in one tick.
"""

from pathlib import Path
from typing import Final

import numpy as np

from sipgw.audio import AudioFormat, PayloadU8
from sipgw.media_relay.kernels.recording import CROWDED, WHOLE, keep_frames, take_piece
from sipgw.media_relay.pipeline.block import FrameBlock
from sipgw.media_relay.pipeline.stage import Tick
from sipgw.media_relay.stages.recording_writer import RecordingPiece, RecordingWriter
from sipgw.rtp.kernels.columns import SLOT_BYTES, Calls

PIECE: Final = 8000
"""A second, in bytes of one channel."""
_RING: Final = 2 * PIECE
_SHORTER: Final = 2 * SLOT_BYTES
"""The length by which a row's first piece is shorter than the previous row's."""
_LEFT, _RIGHT = 0, 1
_SIDES: Final = ("left", "right")


class RecorderStage:
    """Hears all rows that are recorded and takes none."""

    def __init__(self, calls: Calls, writer: RecordingWriter) -> None:
        rows = len(calls)
        self._calls = calls
        self._writer = writer
        self._rings = np.zeros((2 * rows, _RING), np.uint8)
        """Indexed by row * 2 + channel."""
        self._number: dict[int, int] = {}
        """The number of each row's recording."""
        self._formats: dict[int, AudioFormat] = {}
        """The format of each row's recording."""
        self._planned: dict[int, Path] = {}
        """The planned path of each row's recording."""
        self._whole = np.zeros(rows, np.int64)
        self._crowded = np.zeros(rows, np.int64)
        self._counts = np.zeros(2, np.int64)
        self._keep_frames = keep_frames.bind(calls, self._rings, self._whole, self._crowded, self._counts)
        self._take_piece = take_piece.bind(self._rings)
        self._last_number = 0

    def open(self, row: int, path: Path, audio_format: AudioFormat) -> None:
        """Record the row from now on, at `path`, or beside it when that name is taken."""
        self._last_number += 1
        self._number[row] = self._last_number
        self._formats[row] = audio_format
        self._planned[row] = path
        recording = self._calls[row]["recording"]
        recording["origin"] = -1
        recording["flushed"] = 0
        recording["due"] = PIECE - row * _SHORTER % PIECE
        for side in ("left", "right"):
            recording[side]["has_base"] = False
            recording[side]["reached"] = 0
        self._rings[2 * row : 2 * row + 2] = audio_format.silence
        recording["is_on"] = True
        self._writer.begin(self._last_number, path, audio_format.rate_hz)

    def recode(self, row: int, audio_format: AudioFormat, table: PayloadU8) -> None:
        """Go on in another codec: `table` (256,) translates the bytes."""
        if row in self._formats:
            self._formats[row] = audio_format
            both = slice(2 * row, 2 * row + 2)
            self._rings[both] = table[self._rings[both]]

    def path(self, row: int) -> str:
        """Return where the row's recording is; empty when there is none, or none could be made."""
        if row not in self._formats:
            return ""
        return str(self._writer.path(self._number[row], self._planned[row]) or "")

    def close(self, row: int) -> None:
        """Write the rest and end the file."""
        if row not in self._formats:
            return
        recording = self._calls[row]["recording"]
        recording["is_on"] = False
        reached = max(recording["left"]["reached"], recording["right"]["reached"])
        if (rest := int(reached - recording["flushed"])) > 0:
            self._flush(row, min(rest, _RING))
        codec = self._formats.pop(row).codec
        del self._planned[row]
        self._writer.write(RecordingPiece(self._number[row], 0, codec, None))

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Record the callers' side; see Stage."""
        self._keep(block, tick, _LEFT)
        return block

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Record the bots' side; see Stage."""
        self._keep(block, tick, _RIGHT)
        return block

    def _keep(self, block: FrameBlock, tick: Tick, channel: int) -> None:
        if not self._formats:
            return
        self._keep_frames(block.rows, block.seq, block.payload, channel, tick.number)
        whole = self._whole[: self._counts[WHOLE]].tolist()
        for i in self._crowded[: self._counts[CROWDED]].tolist():
            self._make_room(int(block.rows[i]), int(block.seq[i]), block.format.frame_bytes, channel)
            one = slice(i, i + 1)
            self._keep_frames(block.rows[one], block.seq[one], block.payload[one], channel, tick.number)
            whole += self._whole[: self._counts[WHOLE]].tolist()
        for row in whole:
            recording = self._calls[row]["recording"]
            self._flush(row, int(recording["due"] - recording["flushed"]))

    def _make_room(self, row: int, seq: int, length: int, channel: int) -> None:
        """Flush a row of which one side is ahead, after a stall or while the other side stays silent."""
        recording = self._calls[row]["recording"]
        end = int(recording[_SIDES[channel]]["base"]) + (seq + 1) * length
        while end - recording["flushed"] > _RING:
            self._flush(row, PIECE)

    def _flush(self, row: int, length: int) -> None:
        """Hand the next `length` bytes of both channels to the writer."""
        recording, audio_format = self._calls[row]["recording"], self._formats[row]
        start = int(recording["flushed"])
        audio = np.empty((2, length), np.uint8)
        self._take_piece(row, start, audio_format.silence, audio)
        recording["flushed"], recording["due"] = start + length, start + length + PIECE
        self._writer.write(RecordingPiece(self._number[row], start, audio_format.codec, audio))
