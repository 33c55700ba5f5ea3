"""FrameBlock: one frame of audio for each of n calls in one format, as stages pass it on."""

from dataclasses import dataclass
from enum import IntFlag
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat, PayloadU8, SamplesI16, decode, encode

RowsU32: TypeAlias = npt.NDArray[np.uint32]
"""Row indices of calls, shape (n,), each at most once in a block."""
SeqU64: TypeAlias = npt.NDArray[np.uint64]
"""Frame periods since the call's first, shape (n,)."""
LengthsI32: TypeAlias = npt.NDArray[np.int32]
"""Bytes of each row that are audio, shape (n,)."""
FlagsU8: TypeAlias = npt.NDArray[np.uint8]
"""Bits of FrameFlag, shape (n,)."""
Mask: TypeAlias = npt.NDArray[np.bool_]
"""Shape (n,)."""


class FrameFlag(IntFlag):
    """Flags of a row's frame."""

    NONE = 0
    CONCEALED = 1
    """Uplink: no packet came for this period; the voice before it goes on and fades to silence."""
    IDLE = 2
    """Downlink: the bot had nothing to say, so the payload is silence."""


@dataclass(slots=True)
class FrameBlock:
    """Rows of one format. `payload` is (n, format.frame_bytes), uint8; after a row's length it is silence.

    The payload is authoritative: `pcm` is decoded at first use, and rows that nobody writes keep their bytes
    (decoding and encoding µ-law turns 0x7F into 0xFF). The arrays are valid until the tick ends: a stage that
    keeps audio longer copies it.
    """

    format: AudioFormat
    rows: RowsU32
    seq: SeqU64
    payload: PayloadU8
    lengths: LengthsI32
    flags: FlagsU8
    _pcm: SamplesI16 | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def pcm(self) -> SamplesI16:
        """Linear samples, (n, format.frame_samples). To change audio use `write`: this array is a copy."""
        if self._pcm is None:
            self._pcm = decode(self.format, self.payload)
        return self._pcm

    def write(self, which: Mask | npt.NDArray[np.intp], pcm: SamplesI16) -> None:
        """Replace the audio of some rows (by mask or position) with samples (k, frame_samples)."""
        if not self.payload.flags.writeable:
            self.payload = self.payload.copy()
        self.payload[which] = encode(self.format, pcm)
        self.lengths[which] = self.format.frame_bytes
        self.flags[which] = FrameFlag.NONE
        self._pcm = None

    def none(self) -> "FrameBlock":
        """Return a block of no rows."""
        nothing = slice(0, 0)
        return FrameBlock(
            self.format,
            self.rows[nothing],
            self.seq[nothing],
            self.payload[nothing],
            self.lengths[nothing],
            self.flags[nothing],
        )

    def take(self, which: Mask | npt.NDArray[np.intp]) -> "FrameBlock":
        """Return a block of some rows only (by mask or position). Rows are copied."""
        return FrameBlock(
            self.format,
            self.rows[which],
            self.seq[which],
            self.payload[which],
            self.lengths[which],
            self.flags[which],
            None if self._pcm is None else self._pcm[which],
        )
