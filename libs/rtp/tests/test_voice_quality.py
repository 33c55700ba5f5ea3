import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.rtp.voice_quality import mean_opinion_score, mouth_to_ear_ms


@pytest.mark.parametrize(
    ("loss", "delay_ms", "score"),
    [
        (0.0, 0, 4.41),  # R 93.2
        (0.0, 150, 4.33),  # R 89.6
        (0.0, 400, 3.09),  # R 59.1: G.114's limit
        (0.01, 0, 3.83),  # R 75.3
        (0.05, 0, 2.17),
        (1.0, 0, 1.0),
    ],
)
def test_known_ratings_give_their_scores(loss: float, delay_ms: float, score: float) -> None:
    assert mean_opinion_score(loss, delay_ms) == pytest.approx(score, abs=0.06)


shares = st.floats(0, 1)
delays = st.floats(0, 1000)


@given(shares, shares, delays, delays)
def test_more_loss_or_delay_never_sounds_better(a: float, b: float, c: float, d: float) -> None:
    best, worst = mean_opinion_score(min(a, b), min(c, d)), mean_opinion_score(max(a, b), max(c, d))
    assert 1 <= worst <= best <= 4.5


def test_an_unknown_round_trip_counts_as_none() -> None:
    assert mouth_to_ear_ms(math.nan, 5, 20) == 30
    assert mouth_to_ear_ms(80, 5, 20) == 70
