"""G.711 µ-law and A-law as table look-ups, for arrays of any shape.

Linear samples are 16 bit, as in the ITU-T G.191 reference: the 14 (µ) or 13 (A) significant bits at the top.
Not reversible in one place: µ-law has two zeros, so 0x7F comes back as 0xFF after decode and encode.
"""

import numpy as np
import numpy.typing as npt

from sipgw.audio.frame import PayloadU8, SamplesI16

MULAW_SILENCE = 0xFF
ALAW_SILENCE = 0xD5

_MULAW_BIAS = 33  # in the 14-bit domain
_MULAW_CLIP = 8158  # with the bias the largest 13-bit magnitude, so that the top segment does not overflow


def mulaw_decode(payload: PayloadU8) -> SamplesI16:
    """Convert µ-law bytes to linear samples of the same shape."""
    return _MULAW_TO_LINEAR.take(payload)


def mulaw_encode(pcm: SamplesI16) -> PayloadU8:
    """Convert linear samples to µ-law bytes of the same shape."""
    return _LINEAR_TO_MULAW.take(pcm.view(np.uint16))


def alaw_decode(payload: PayloadU8) -> SamplesI16:
    """Convert A-law bytes to linear samples of the same shape."""
    return _ALAW_TO_LINEAR.take(payload)


def alaw_encode(pcm: SamplesI16) -> PayloadU8:
    """Convert linear samples to A-law bytes of the same shape."""
    return _LINEAR_TO_ALAW.take(pcm.view(np.uint16))


def _mulaw_to_linear() -> SamplesI16:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    segment = (code >> 4) & 7
    magnitude = ((((code & 15) << 1) + _MULAW_BIAS) << segment) - _MULAW_BIAS
    return (np.where(code & 0x80, -magnitude, magnitude) << 2).astype(np.int16)


def _alaw_to_linear() -> SamplesI16:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (code >> 4) & 7
    step = ((code & 15) << 1) + 1
    magnitude = np.where(segment == 0, step, (step + 32) << np.maximum(segment - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) << 3).astype(np.int16)


def _linear_to_mulaw() -> PayloadU8:
    linear = _all_linear() >> 2
    magnitude = np.minimum(np.abs(linear), _MULAW_CLIP) + _MULAW_BIAS
    segment = _highest_bit(magnitude) - 5
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 15)
    return (np.where(linear < 0, code | 0x80, code) ^ 0xFF).astype(np.uint8)


def _linear_to_alaw() -> PayloadU8:
    linear = _all_linear() >> 3
    magnitude = np.where(linear < 0, ~linear, linear)
    segment = np.maximum(_highest_bit(np.maximum(magnitude, 1)) - 4, 0)
    code = (segment << 4) | ((magnitude >> np.maximum(segment, 1)) & 15)
    return (np.where(linear < 0, code, code | 0x80) ^ 0x55).astype(np.uint8)


def _all_linear() -> npt.NDArray[np.int32]:
    """Return every int16 in the order of its unsigned bit pattern, which indexes the tables."""
    return np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)


def _highest_bit(value: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    return np.frexp(value.astype(np.float64))[1].astype(np.int32) - 1


_MULAW_TO_LINEAR = _mulaw_to_linear()
_ALAW_TO_LINEAR = _alaw_to_linear()
_LINEAR_TO_MULAW = _linear_to_mulaw()
_LINEAR_TO_ALAW = _linear_to_alaw()
