"""TickClock: the lag that liveness is judged by, and the share of a core that ticks take."""

import gc
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.load.gc_pauses import GcPauses
from sipgw.media_relay.load.tick import LATE_S, REST_TICKS, TICK_S, TickClock


class Loop:
    """A clock moved by hand. It keeps the timer that was set last."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due = None

    def time(self) -> float:
        return self.now

    def call_at(self, when, callback):
        self.due = (when, callback)
        return self

    def cancel(self):
        self.due = None

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


class Core:
    """A clock whose runs are late by `lateness` in turn, and whose ticks take `work` of a core each."""

    def __init__(self, work, lateness):
        self.loop = Loop()
        self.cpu = 0.0
        self._work = work
        self._lateness = lateness
        self.clock = TickClock(self.loop, self._on_tick, lambda: self.cpu)
        self.clock.start()

    def _on_tick(self, _tick, missed):
        self.cpu += self._work * TICK_S * (missed + 1)

    def run(self, seconds):
        """Make the runs of `seconds`, each late by its turn; return the load."""
        turn = 0
        while self.loop.now < seconds:
            when, callback = self.loop.due
            self.loop.now = when + self._lateness[turn % len(self._lateness)] * TICK_S
            callback()
            turn += 1
        return self.clock.load


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 0.9), st.lists(st.integers(0, 40), min_size=1, max_size=20))
def test_the_load_is_the_share_of_a_core_however_late_its_turns_come(work, lateness):
    """A process that waits for its core does the work of several ticks at once, not more of it."""
    assert Core(work, lateness).run(10.0) == pytest.approx(work, rel=0.01)


def test_a_busy_second_weighs_a_second_whether_in_one_run_or_in_two_hundred():
    smooth, lumps = Core(0.0, [0]), Core(0.0, [19])
    for core in (smooth, lumps):
        core.run(5.0)
        core._work = 0.8
        core.run(6.0)
    assert lumps.clock.load == pytest.approx(smooth.clock.load, rel=0.05)
    assert smooth.clock.load == pytest.approx(0.8 * (1 - math.exp(-1)), rel=0.02)


class Resting:
    """A clock that rests while `has_work` is not set, and its ticks: (number, missed)."""

    def __init__(self):
        self.loop = Loop()
        self.has_work = False
        self.ticks = []
        self.clock = TickClock(
            self.loop,
            lambda tick, missed: self.ticks.append((tick.number, missed)),
            may_rest=lambda: not self.has_work,
        )
        self.clock.start()

    @property
    def numbers(self):
        return [number for number, _ in self.ticks]


def test_a_clock_at_rest_does_every_twentieth_tick_and_misses_none():
    resting = Resting()
    resting.loop.run(1.0 + TICK_S / 2)
    assert resting.numbers == [1, *range(REST_TICKS, 201, REST_TICKS)]
    assert resting.clock.missed == 0
    assert resting.clock.take_latest_s() < TICK_S / 10


@pytest.mark.parametrize("after_ticks", [0.2, 1.0, 7.3, 19.7])
def test_a_clock_that_is_woken_does_the_present_tick_and_all_that_follow(after_ticks):
    resting = Resting()
    resting.loop.run((REST_TICKS + after_ticks) * TICK_S + 1e-6)
    resting.has_work = True
    before = len(resting.ticks)
    resting.clock.wake()
    resting.clock.wake()
    resting.loop.run(TICK_S * 5)
    present = int(REST_TICKS + after_ticks)
    follow = [(number, 0) for number in range(REST_TICKS + 1, present + 6) if number >= present]
    assert resting.ticks[before:] == follow


def test_a_clock_at_rest_that_stood_still_says_how_many_ticks_it_missed():
    resting = Resting()
    resting.loop.run(REST_TICKS * TICK_S + 1e-6)
    _, callback = resting.loop.due
    resting.loop.now = (2 * REST_TICKS + 30) * TICK_S + 1e-6
    callback()
    assert resting.ticks[-1] == (2 * REST_TICKS + 30, 30)


def test_a_relay_without_calls_rests_until_one_comes(bench):
    ticked, on_tick = [], bench.plane.on_tick
    bench.plane.on_tick = lambda tick, missed: (ticked.append(tick.number), on_tick(tick, missed))

    def run(seconds):
        for _ in range(round(seconds * 1000)):
            bench.loop.now += 0.001
            bench.loop.run_due()

    bench.relay.clock.start()
    run(1.003)
    assert len(ticked) == 200 / REST_TICKS + 1
    phone = bench.phone()
    session = bench.call(phone)
    assert ticked[-1] == 200
    run(0.1)
    assert ticked[-21:] == list(range(200, 221))
    assert len(phone.received()) == 5
    bench.command("call-1", release=pb.Release())
    run(0.5)
    assert len(ticked) <= 11 + 20 + 1 + 5
    assert session.row == 0


def test_a_clock_says_how_late_its_latest_tick_was() -> None:
    loop = Loop()
    clock = TickClock(loop, lambda _tick, _missed: None)
    clock.start()
    loop.run(1.0)
    assert clock.take_latest_s() < 0.001
    when, callback = loop.due
    loop.now = when + 0.0123  # the process was kept from running
    callback()
    assert clock.take_latest_s() == pytest.approx(0.0123)
    assert clock.take_latest_s() == 0.0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.0, 0.2), min_size=1, max_size=30))
def test_each_tick_that_ran_later_than_a_frame_is_counted_once(lateness) -> None:
    """Equal to what a scalar oracle counts, which asks of each tick when it was done."""
    loop, done = Loop(), {}

    def on_tick(tick, missed):
        done.update({tick.number - back: loop.now for back in range(missed + 1)})

    clock = TickClock(loop, on_tick)
    clock.start()
    for late_s in lateness:
        when, callback = loop.due
        loop.now = when + late_s
        callback()
    late = [number for number, at_s in done.items() if at_s - number * TICK_S > LATE_S + 1e-9]
    assert clock.late == pytest.approx(len(late), abs=sum(_is_on_the_edge(one) for one in lateness))


def _is_on_the_edge(late_s: float) -> bool:
    """Whether rounding decides how many ticks were late."""
    return abs((late_s - LATE_S) / TICK_S - round((late_s - LATE_S) / TICK_S)) < 1e-6


def test_the_tick_that_took_most_cpu_is_told_once() -> None:
    loop = Loop()
    spent = iter([0.0, 0.001, 1.0, 1.004, 2.0, 2.002])
    clock = TickClock(loop, lambda _tick, _missed: None, cpu_s=lambda: next(spent))
    clock.start()
    loop.run(3.2 * TICK_S)
    assert clock.take_longest_cpu_s() == pytest.approx(0.004)
    assert clock.take_longest_cpu_s() == 0.0
    assert clock.take_longest_between_s() == pytest.approx(0.999)  # the loop's other work, from 0.001 to 1.0
    assert clock.take_longest_between_s() == 0.0


def test_a_garbage_collection_is_seen_until_watching_stops() -> None:
    pauses = GcPauses()
    pauses.start()
    gc.collect()
    assert 0 < pauses.take_longest_s() < 60
    assert pauses.take_longest_s() == 0.0
    pauses.stop()
    gc.collect()
    assert pauses.take_longest_s() == 0.0
