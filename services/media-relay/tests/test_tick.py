"""TickClock: what liveness is judged by."""

import pytest

from sipgw.media_relay.tick import TICK_S, TickClock


class Loop:
    """Time by hand; the timer that was set last is kept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due = None

    def time(self) -> float:
        return self.now

    def call_at(self, when, callback):
        self.due = (when, callback)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.due is not None and self.due[0] <= end:
            (self.now, callback), self.due = self.due, None
            callback()
        self.now = end


def test_a_clock_that_ticks_does_not_lag() -> None:
    loop = Loop()
    clock = TickClock(loop, lambda _tick, _missed: None)
    clock.start()
    loop.run(10.0)
    assert clock.lag_s < 2 * TICK_S


def test_a_clock_whose_tick_has_failed_lags_from_then_on() -> None:
    loop = Loop()

    def fail_after_a_second(tick, _missed):
        if tick.at_s > 1.0:
            raise ValueError("a bug")

    clock = TickClock(loop, fail_after_a_second)
    clock.start()
    with pytest.raises(ValueError, match="a bug"):
        loop.run(2.0)
    loop.due = None  # nobody sets another
    loop.run(6.0)
    assert clock.lag_s > 5.0
