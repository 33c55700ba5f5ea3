import numpy as np
import pytest

from sipgw.audio.g711 import ALAW_SILENCE, MULAW_SILENCE, alaw_decode, alaw_encode, mulaw_decode, mulaw_encode

EVERY_BYTE = np.arange(256, dtype=np.uint8)
EVERY_SAMPLE = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)

# The scalar oracle: the segment search of the public-domain G.711 reference, one sample at a time.
MULAW_ENDS = (0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF, 0x1FFF)
ALAW_ENDS = (0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF)


def scalar_mulaw(sample: int) -> int:
    value, mask = sample >> 2, 0xFF
    if value < 0:
        value, mask = -value, 0x7F
    value = min(value, 8159) + 33
    segment = next((i for i, end in enumerate(MULAW_ENDS) if value <= end), 8)
    return (0x7F if segment == 8 else segment << 4 | (value >> (segment + 1)) & 15) ^ mask


def scalar_alaw(sample: int) -> int:
    value, mask = sample >> 3, 0xD5
    if value < 0:
        value, mask = -value - 1, 0x55
    segment = next(i for i, end in enumerate(ALAW_ENDS) if value <= end)
    return (segment << 4 | (value >> max(segment, 1)) & 15) ^ mask


def test_mulaw_of_every_sample_is_the_reference_segment_search():
    assert mulaw_encode(EVERY_SAMPLE).tolist() == [scalar_mulaw(s) for s in EVERY_SAMPLE.tolist()]


def test_alaw_of_every_sample_is_the_reference_segment_search():
    assert alaw_encode(EVERY_SAMPLE).tolist() == [scalar_alaw(s) for s in EVERY_SAMPLE.tolist()]


@pytest.mark.parametrize(
    ("byte", "sample"),
    [(0x00, -32124), (0x80, 32124), (0xFF, 0), (0x7F, 0), (0xFE, 8), (0x7E, -8), (0x8F, 16764)],
)
def test_mulaw_bytes_of_the_g711_table_decode_to_its_values(byte: int, sample: int):
    assert mulaw_decode(np.array([byte], np.uint8))[0] == sample


@pytest.mark.parametrize(
    ("byte", "sample"), [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0xD4, 24)]
)
def test_alaw_bytes_of_the_g711_table_decode_to_its_values(byte: int, sample: int):
    assert alaw_decode(np.array([byte], np.uint8))[0] == sample


def test_mulaw_comes_back_bit_exact_but_for_the_second_zero():
    expected = EVERY_BYTE.copy()
    expected[0x7F] = 0xFF
    assert np.array_equal(mulaw_encode(mulaw_decode(EVERY_BYTE)), expected)


def test_alaw_comes_back_bit_exact():
    assert np.array_equal(alaw_encode(alaw_decode(EVERY_BYTE)), EVERY_BYTE)


def test_silence_is_the_smallest_level():
    assert mulaw_decode(np.array([MULAW_SILENCE], np.uint8))[0] == 0
    assert alaw_decode(np.array([ALAW_SILENCE], np.uint8))[0] == 8


@pytest.mark.parametrize("shape", [(0,), (160,), (3, 160), (2, 0), (2, 3, 4)])
def test_shape_is_kept(shape: tuple[int, ...]):
    payload = np.zeros(shape, np.uint8)
    assert mulaw_decode(payload).shape == alaw_decode(payload).shape == shape
    assert (
        mulaw_encode(np.zeros(shape, np.int16)).shape == alaw_encode(np.zeros(shape, np.int16)).shape == shape
    )


def test_columns_of_a_larger_array_encode_without_a_copy_by_the_caller():
    block = np.arange(64, dtype=np.int16).reshape(8, 8) * 100
    assert np.array_equal(mulaw_encode(block[:, ::2]), mulaw_encode(block[:, ::2].copy()))
