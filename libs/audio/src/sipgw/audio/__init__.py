"""Audio arrays: G.711, resampling, WAV, levels."""

from sipgw.audio.codec import AudioFormat, Codec, decode, encode, recoding_table
from sipgw.audio.frame import LevelsF64, PayloadU8, RowIndices, SamplesI16

__all__ = [
    "AudioFormat",
    "Codec",
    "LevelsF64",
    "PayloadU8",
    "RowIndices",
    "SamplesI16",
    "decode",
    "encode",
    "recoding_table",
]
