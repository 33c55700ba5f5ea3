import pytest

from sipgw.rtp.sequence import sequence_delta, timestamp_delta


@pytest.mark.parametrize(
    ("newer", "older", "delta"),
    [(1, 0, 1), (0, 1, -1), (0, 65535, 1), (65535, 0, -1), (5, 5, 0), (32767, 0, 32767), (32768, 0, -32768)],
)
def test_sequence_numbers_go_round(newer: int, older: int, delta: int):
    assert sequence_delta(newer, older) == delta


def test_timestamps_go_round():
    assert timestamp_delta(100, 2**32 - 60) == 160
    assert timestamp_delta(2**32 - 60, 100) == -160
