"""FormatFrames: the frames of one format that a kernel takes in a tick, in memory that is used again."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat, PayloadU8, decode
from sipgw.media_relay.kernels.quiet import LoudnessI32

Take = Callable[..., int]
"""A kernel that takes a frame of each row that is due, with its memory given; returns how many."""
Bind = Callable[[PayloadU8, LoudnessI32], Take]


@dataclass(frozen=True, slots=True)
class FormatFrames:
    """Room for a frame of each row. `lengths` are those of whole frames."""

    audio: AudioFormat
    payload: PayloadU8
    lengths: npt.NDArray[np.int32]
    take: Take


class FormatNumbers:
    """The formats in use; a format's number is its place in `frames`.

    `bind` gives a kernel the memory of a format: the frames, and the magnitude (256,) of the linear sample of
    each code.
    """

    def __init__(self, rows: int, bind: Bind) -> None:
        self._rows = rows
        self._bind = bind
        self.frames: list[FormatFrames] = []

    def number_of(self, audio: AudioFormat) -> int:
        """Return the number of a format, a new one at its first use."""
        for number, frames in enumerate(self.frames):
            if frames.audio == audio:
                return number
        payload = np.zeros((self._rows, audio.frame_bytes), np.uint8)
        lengths = np.full(self._rows, audio.frame_bytes, np.int32)
        loudness = np.abs(decode(audio, np.arange(256, dtype=np.uint8)).astype(np.int32))
        self.frames.append(FormatFrames(audio, payload, lengths, self._bind(payload, loudness)))
        return len(self.frames) - 1
