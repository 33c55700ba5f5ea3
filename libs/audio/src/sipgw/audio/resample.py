"""Resampling by a polyphase FIR: many calls at once, frame by frame, or a whole clip.

A rational factor, Kaiser-windowed sinc. The filter is one matrix of (window of input, samples of output), so
that a frame of all calls is one matrix product. It passes up to 85 % of the lower of both Nyquist frequencies
and nothing above 115 %; it delays by 16 samples of the lower rate (2 ms between 8 and 16 kHz).
"""

from functools import lru_cache
from math import gcd
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sipgw.audio.frame import RowIndices, SamplesI16

MatrixF32: TypeAlias = npt.NDArray[np.float32]

_HALF_WIDTH = 16  # samples of the lower rate each side of the filter's centre
_CUTOFF = 0.96  # of the lower Nyquist frequency: where the filter is at half
_KAISER_BETA = 7.0
_LARGEST_TERM = 1000  # of the ratio in lowest terms: bounds the filter's size
_STEPS_AT_ONCE = 16  # groups of M samples that one row of the matrix product takes


class PolyphaseResampler:
    """A live resampler for each of ``rows`` calls; equal rates pass through."""

    def __init__(self, rows: int, from_hz: int, to_hz: int) -> None:
        """Build the filter. Raises ValueError for rates whose ratio has no small terms."""
        self._up, self._down = ratio(from_hz, to_hz)
        self._history = np.zeros((rows, _history_length(self._up, self._down)), np.int16)

    @property
    def step(self) -> int:
        """The number of samples of which frames are whole multiples."""
        return self._down

    def process(self, rows: RowIndices, pcm: SamplesI16) -> SamplesI16:
        """Return the next frame of each of ``rows``, which are all different.

        Shape (n, samples) to (n, samples * to_hz / from_hz). Raises ValueError when that comes out uneven.
        """
        if self._up == self._down:
            return pcm
        samples = pcm.shape[1]
        if samples % self._down:
            raise ValueError(f"frames of {samples} samples: not a multiple of {self._down}")
        history = self._history[rows]
        joined = np.concatenate((history, pcm), axis=1)
        self._history[rows] = joined[:, samples:]
        return _filter(joined, samples, self._up, self._down)

    def reset(self, row: int) -> None:
        """Clear the history of a row for another call."""
        self._history[row] = 0


def resample_clip(pcm: SamplesI16, from_hz: int, to_hz: int) -> SamplesI16:
    """Resample a whole clip, shape (samples,), without delay; its length changes by the ratio."""
    up, down = ratio(from_hz, to_hz)
    if up == down or not len(pcm):
        return pcm
    delay = _centre(up, down) // down
    wanted = -(-len(pcm) * up // down)
    steps = -(-(wanted + delay) // up)
    padded = np.zeros((1, _history_length(up, down) + steps * down), np.int16)
    begin = _history_length(up, down)
    padded[0, begin : begin + len(pcm)] = pcm[: steps * down]
    return _filter(padded, steps * down, up, down)[0, delay : delay + wanted]


def ratio(from_hz: int, to_hz: int) -> tuple[int, int]:
    """Return (up, down) in lowest terms. Raises ValueError when the filter would be enormous."""
    if from_hz <= 0 or to_hz <= 0:
        raise ValueError(f"rates are positive: {from_hz} and {to_hz} Hz")
    common = gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    if max(up, down) > _LARGEST_TERM:
        raise ValueError(f"{from_hz} to {to_hz} Hz is {up}:{down}, at most {_LARGEST_TERM} is supported")
    return up, down


def _filter(joined: SamplesI16, samples: int, up: int, down: int) -> SamplesI16:
    """Filter ``joined``, shape (n, history + samples), of which ``samples`` are new."""
    steps = samples // down
    together = max((count for count in range(1, _STEPS_AT_ONCE + 1) if steps % count == 0), default=1)
    matrix = _matrix(up, down, together)
    windows = np.lib.stride_tricks.sliding_window_view(joined, len(matrix), axis=1)[:, :: together * down]
    filtered = windows.astype(np.float32) @ matrix
    np.rint(filtered, out=filtered)
    np.clip(filtered, -32768, 32767, out=filtered)
    return filtered.astype(np.int16).reshape(len(joined), steps * up)


@lru_cache(maxsize=64)
def _matrix(up: int, down: int, steps: int) -> MatrixF32:
    """Return the filter as a matrix (history + steps * down, steps * up), one column per output."""
    taps = _prototype(up, down)
    history = _history_length(up, down)
    inputs = (np.arange(history + steps * down) - history)[:, np.newaxis]
    outputs = np.arange(steps * up)[np.newaxis, :]
    index = outputs * down - inputs * up
    inside = (index >= 0) & (index < len(taps))
    return np.where(inside, taps[np.clip(index, 0, len(taps) - 1)], 0).astype(np.float32)


def _prototype(up: int, down: int) -> npt.NDArray[np.float64]:
    """Return the low pass at ``up`` times the input's rate.

    Each phase adds up to 1, so DC passes without ripple.
    """
    centre = _centre(up, down)
    at = np.arange(-centre, centre + 1)
    taps = np.sinc(at * _CUTOFF / max(up, down)) * np.kaiser(len(at), _KAISER_BETA)
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    return taps


def _centre(up: int, down: int) -> int:
    """Return the filter's middle, a whole number of outputs from its beginning."""
    return -(-_HALF_WIDTH * max(up, down) // down) * down


def _history_length(up: int, down: int) -> int:
    return 2 * _centre(up, down) // up
