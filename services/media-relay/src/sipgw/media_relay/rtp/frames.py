"""FormatFrames: the frames of one format that a kernel takes in a tick, in memory that is used again."""

import numpy as np

from sipgw.audio import AudioFormat, decode


class FormatFrames:
    """Room for a frame of each row. `lengths` are those of whole frames.

    `loudness` (256,) is the magnitude of the linear sample of each code.
    """

    def __init__(self, audio: AudioFormat, rows: int) -> None:
        self.audio = audio
        self.payload = np.zeros((rows, audio.frame_bytes), np.uint8)
        self.lengths = np.full(rows, audio.frame_bytes, np.int32)
        self.loudness = np.abs(decode(audio, np.arange(256, dtype=np.uint8)).astype(np.int32))


class FormatNumbers:
    """The formats in use; a format's number is its place in `frames`."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.frames: list[FormatFrames] = []

    def number_of(self, audio_format: AudioFormat) -> int:
        """Return the number of a format, a new one at its first use."""
        for number, frames in enumerate(self.frames):
            if frames.audio == audio_format:
                return number
        self.frames.append(FormatFrames(audio_format, self._rows))
        return len(self.frames) - 1
