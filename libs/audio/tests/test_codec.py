import numpy as np
import pytest

from sipgw.audio import AudioFormat, Codec, decode, encode
from sipgw.audio.g711 import mulaw_decode


@pytest.mark.parametrize(
    ("audio_format", "samples", "size"),
    [
        (AudioFormat(Codec.PCMU, 8000, 20), 160, 160),
        (AudioFormat(Codec.PCMA, 8000, 30), 240, 240),
        (AudioFormat(Codec.PCM16, 16000, 20), 320, 640),
        (AudioFormat(Codec.PCM16, 24000, 10), 240, 480),
    ],
)
def test_frame_sizes_follow_rate_and_length(audio_format: AudioFormat, samples: int, size: int):
    assert (audio_format.frame_samples, audio_format.frame_bytes) == (samples, size)


@pytest.mark.parametrize("codec", list(Codec))
def test_silence_decodes_to_next_to_nothing(codec: Codec):
    audio_format = AudioFormat(codec, 8000, 20)
    payload = np.full((2, audio_format.frame_bytes), audio_format.silence, np.uint8)
    pcm = decode(audio_format, payload)
    assert pcm.shape == (2, audio_format.frame_samples)
    assert np.abs(pcm).max() <= 8


def test_pcm16_is_little_endian():
    audio_format = AudioFormat(Codec.PCM16, 8000, 20)
    payload = np.array([[0x34, 0x12, 0xFF, 0xFF]], np.uint8)
    assert decode(audio_format, payload).tolist() == [[0x1234, -1]]
    assert encode(audio_format, np.array([[0x1234, -1]], np.int16)).tolist() == payload.tolist()


def test_pcm16_of_a_strided_block_is_the_same_as_of_its_copy():
    audio_format = AudioFormat(Codec.PCM16, 8000, 20)
    block = np.arange(40, dtype=np.int16).reshape(4, 10)[::2, ::2]
    assert np.array_equal(encode(audio_format, block), encode(audio_format, block.copy()))
    assert np.array_equal(decode(audio_format, encode(audio_format, block)), block)


def test_a_row_decodes_as_it_does_alone():
    audio_format = AudioFormat(Codec.PCMU, 8000, 20)
    block = np.random.default_rng(1).integers(0, 256, (5, 160), np.uint8)
    assert np.array_equal(decode(audio_format, block)[3], mulaw_decode(block[3]))


def test_formats_with_equal_fields_are_one_key():
    assert len({AudioFormat(Codec.PCMU, 8000, 20), AudioFormat(Codec("PCMU"), 8000, 20)}) == 1
