"""Conversion between the gateway's audio and int16 samples at the bot's rate.

Same rate: G.711 look-up or nothing. Other rate: a streaming resampler each way, with the call's own history.
"""

from math import gcd
from typing import cast

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat, SamplesI16, decode, encode
from sipgw.audio.resample import PolyphaseResampler, resample_clip

_ONE_ROW = np.zeros(1, dtype=np.uint32)


class SpeechConverter:
    """One call's converter, both ways."""

    def __init__(self, wire_format: AudioFormat, rate_hz: int) -> None:
        self._wire = wire_format
        self._rate_hz = rate_hz
        # the smallest block that converts to whole samples
        self._block = rate_hz // gcd(rate_hz, wire_format.rate_hz)
        self._leftover = np.zeros(0, dtype=np.int16)
        if rate_hz == wire_format.rate_hz:
            self._heard: PolyphaseResampler | None = None
            self._said: PolyphaseResampler | None = None
        else:
            self._heard = PolyphaseResampler(1, wire_format.rate_hz, rate_hz)
            self._said = PolyphaseResampler(1, rate_hz, wire_format.rate_hz)

    def heard(self, data: bytes) -> SamplesI16:
        """Convert a frame from the gateway to samples at the bot's rate, in their own writable memory."""
        samples = decode(self._wire, np.frombuffer(data, dtype=np.uint8))
        if self._heard is None:
            return samples if samples.flags.writeable else samples.copy()
        return self._heard.process(_ONE_ROW, samples[np.newaxis, :])[0]

    def said(self, pcm: SamplesI16, rate_hz: int | None = None) -> bytes:
        """Convert samples at the bot's rate (or a clip at `rate_hz`) to bytes for the gateway.

        Samples that do not fill the resampler's step wait for the next call, or for `rest`.
        """
        if rate_hz is not None and rate_hz != self._rate_hz:
            pcm = resample_clip(pcm, rate_hz, self._rate_hz)
        if self._said is None:
            return encode(self._wire, pcm).tobytes()
        if len(self._leftover):
            pcm = np.concatenate((self._leftover, pcm))
        whole = len(pcm) - len(pcm) % self._block
        self._leftover = pcm[whole:].copy()
        if not whole:
            return b""
        return encode(self._wire, self._said.process(_ONE_ROW, pcm[np.newaxis, :whole])[0]).tobytes()

    def rest(self) -> bytes:
        """Return the waiting samples, filled up with silence."""
        if self._said is None or not len(self._leftover):
            return b""
        return self.said(np.zeros(self._block - len(self._leftover), dtype=np.int16))

    def forget(self) -> None:
        """Drop the waiting samples: speech was cleared."""
        self._leftover = self._leftover[:0]


def as_samples(pcm: object) -> SamplesI16:
    """Check samples and view them as one channel of int16.

    Raises TypeError or ValueError for what would play as noise.
    """
    if isinstance(pcm, bytes | bytearray | memoryview):
        return np.frombuffer(cast(bytes, pcm), dtype="<i2").astype(np.int16, copy=False)
    if not isinstance(pcm, np.ndarray):
        raise TypeError(f"play() takes int16 samples (numpy array or bytes), not {type(pcm).__name__}")
    samples = cast("npt.NDArray[np.int16]", pcm)
    if samples.dtype != np.int16:
        raise TypeError(f"play() takes int16 samples, not {samples.dtype}: scale floats by 32767 first")
    if samples.size != max(samples.shape, default=1):
        raise ValueError(f"play() takes one channel, not samples of shape {samples.shape}")
    return np.ascontiguousarray(samples.reshape(-1))
