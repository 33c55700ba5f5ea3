import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.rtp.sequence import extend_sequence, extend_timestamp, sequence_delta, timestamp_delta


@pytest.mark.parametrize(
    ("newer", "older", "delta"),
    [(1, 0, 1), (0, 1, -1), (0, 65535, 1), (65535, 0, -1), (5, 5, 0), (32767, 0, 32767), (32768, 0, -32768)],
)
def test_sequence_numbers_go_round(newer: int, older: int, delta: int):
    assert sequence_delta(newer, older) == delta


def test_timestamps_go_round():
    assert timestamp_delta(100, 2**32 - 60) == 160
    assert timestamp_delta(2**32 - 60, 100) == -160


@pytest.mark.parametrize(
    ("sequence", "near", "extended"),
    [
        (5, 0, 5),
        (2, 65535, 65538),
        (65535, 65536, 65535),
        (65535, 3 * 65536 + 1, 3 * 65536 - 1),
        (65535, 0, -1),
    ],
)
def test_a_sequence_number_is_extended_to_the_nearest(sequence: int, near: int, extended: int):
    assert extend_sequence(sequence, near) == extended


@given(st.integers(0, 2**48), st.integers(-(2**15), 2**15 - 1))
def test_extending_undoes_cutting_to_16_bits(near: int, ahead: int):
    assert extend_sequence((near + ahead) & 0xFFFF, near) == near + ahead


@given(st.integers(0, 2**48), st.integers(-(2**31), 2**31 - 1))
def test_extending_undoes_cutting_to_32_bits(near: int, ahead: int):
    assert extend_timestamp((near + ahead) & 0xFFFFFFFF, near) == near + ahead
