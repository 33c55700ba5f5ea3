"""The pauses between attempts to reach a pod, on a virtual clock."""

from hypothesis import given
from hypothesis import strategies as st

from sipgw.media_relay.bots.retry_pace import LEAST_S, MOST_S, RetryPace


def attempts_until(away_s: float) -> list[float]:
    """Return the times of all attempts at a pod that is away for so long; the last attempt reaches it."""
    pace = RetryPace()
    times = [0.0]
    while times[-1] < away_s:
        pace.note_failed(times[-1])
        assert pace.is_away
        times.append(pace.retry_at)
    pace.note_reached()
    assert not pace.is_away
    return times


@given(st.floats(min_value=0.001, max_value=600))
def test_a_pod_is_found_within_a_tenth_of_its_absence(away_s: float):
    late_s = attempts_until(away_s)[-1] - away_s
    assert late_s <= min(max(0.1 * away_s, LEAST_S), MOST_S) + 1e-9


def test_a_pod_that_stays_away_costs_an_attempt_a_second():
    times = attempts_until(600)
    assert sum(time < 1 for time in times) <= 20
    assert sum(300 <= time < 310 for time in times) == 10


def test_the_next_absence_begins_with_short_pauses_again():
    pace = RetryPace()
    pace.note_failed(0)
    pace.note_failed(100)
    assert pace.retry_at == 100 + MOST_S
    pace.note_reached()
    pace.note_failed(200)
    assert pace.retry_at == 200 + LEAST_S
