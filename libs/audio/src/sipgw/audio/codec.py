"""The format of a stream of audio frames, and conversion from and to linear samples, for blocks of calls."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sipgw.audio.frame import PayloadU8, SamplesI16
from sipgw.audio.g711 import ALAW_SILENCE, MULAW_SILENCE, alaw_decode, alaw_encode, mulaw_decode, mulaw_encode


class Codec(StrEnum):
    """The SDP encoding names; PCM16 is linear, little-endian, and never used in RTP."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    PCM16 = "PCM16"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Codec, sampling rate and frame length of a stream of equal frames of one channel."""

    codec: Codec
    rate_hz: int
    frame_ms: int

    @property
    def frame_samples(self) -> int:
        return self.rate_hz * self.frame_ms // 1000

    @property
    def frame_bytes(self) -> int:
        return self.frame_samples * self.sample_bytes

    @property
    def sample_bytes(self) -> int:
        return 2 if self.codec is Codec.PCM16 else 1

    @property
    def silence(self) -> int:
        """The byte that encodes silence."""
        return _SILENCE[self.codec]


def decode(audio_format: AudioFormat, payload: PayloadU8) -> SamplesI16:
    """Convert payload bytes (..., bytes) to samples (..., samples); PCM16 shares memory where it can."""
    match audio_format.codec:
        case Codec.PCMU:
            return mulaw_decode(payload)
        case Codec.PCMA:
            return alaw_decode(payload)
        case Codec.PCM16:
            return np.ascontiguousarray(payload).view("<i2").astype(np.int16, copy=False)


def encode(audio_format: AudioFormat, pcm: SamplesI16) -> PayloadU8:
    """Convert samples (..., samples) to payload bytes (..., bytes); PCM16 shares memory where it can."""
    match audio_format.codec:
        case Codec.PCMU:
            return mulaw_encode(pcm)
        case Codec.PCMA:
            return alaw_encode(pcm)
        case Codec.PCM16:
            return np.ascontiguousarray(pcm.astype("<i2", copy=False)).view(np.uint8)


def recoding_table(before: AudioFormat, after: AudioFormat) -> PayloadU8:
    """Return the table (256,) from the bytes of one G.711 law to those of the other.

    Silence stays silence: A-law has no zero, and its smallest value would come back as a step above it.
    """
    table = encode(after, decode(before, np.arange(256, dtype=np.uint8)))
    table[before.silence] = after.silence
    return table


_SILENCE = {Codec.PCMU: MULAW_SILENCE, Codec.PCMA: ALAW_SILENCE, Codec.PCM16: 0}
