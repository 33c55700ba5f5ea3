"""How much of a few frequencies is in samples, as Goertzel's recursion gives it, for all rows at once."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sipgw.audio.frame import SamplesI16


def tone_amplitudes(
    pcm: SamplesI16, rate_hz: int, frequencies_hz: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Amplitude of each frequency in (..., samples), shape (..., frequencies), in sample units.

    The window is rectangular: tones are told apart when they are rate_hz / samples or more from each other.
    """
    samples = pcm.shape[-1]
    waves = _waves(samples, rate_hz, tuple(frequencies_hz))
    return np.abs(pcm.astype(np.float64) @ waves) * (2 / max(samples, 1))


@lru_cache(maxsize=32)
def _waves(samples: int, rate_hz: int, frequencies_hz: tuple[float, ...]) -> npt.NDArray[np.complex128]:
    at = np.arange(samples)[:, np.newaxis]
    return np.exp(-2j * np.pi * at * np.array(frequencies_hz)[np.newaxis, :] / rate_hz)
