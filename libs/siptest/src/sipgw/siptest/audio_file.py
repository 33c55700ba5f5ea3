"""A WAV file as telephone speech: one channel at 8 kHz."""

from pathlib import Path

import numpy as np

from sipgw.audio import SamplesI16
from sipgw.audio.errors import WavError
from sipgw.audio.resample import resample_clip
from sipgw.audio.wav import read_wav

_TELEPHONE_HZ = 8000


def read_speech(path: Path) -> SamplesI16:
    """Return all channels mixed, at 8 kHz. Raises OSError and WavError."""
    with path.open("rb") as file:
        clip = read_wav(file)
    mixed = clip.samples.mean(axis=0).astype(np.int16)
    if clip.rate_hz == _TELEPHONE_HZ:
        return mixed
    try:
        return resample_clip(mixed, clip.rate_hz, _TELEPHONE_HZ)
    except ValueError as error:
        raise WavError(f"{clip.rate_hz} Hz can't be brought to {_TELEPHONE_HZ} Hz: {error}") from error
