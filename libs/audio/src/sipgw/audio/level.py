"""The loudness of samples, row by row."""

import numpy as np

from sipgw.audio.frame import LevelsF64, SamplesI16

SILENCE_DBOV = -127.0  # the lowest level that RFC 6464 can express


def rms(pcm: SamplesI16) -> LevelsF64:
    """Return the root mean square of (..., samples), shape (...); 0 for no samples."""
    if not pcm.shape[-1]:
        return np.zeros(pcm.shape[:-1])
    samples = pcm.astype(np.float64)
    return np.sqrt(np.mean(samples * samples, axis=-1))


def dbov(pcm: SamplesI16) -> LevelsF64:
    """Return the level of (..., samples) in dB of overload, shape (...); 0 is a full-scale square wave."""
    return np.maximum(20 * np.log10(np.maximum(rms(pcm), 1e-3) / 32768), SILENCE_DBOV)
