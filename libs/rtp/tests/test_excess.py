"""ExcessWatch counts only a standing backlog as excess. The queue runs in virtual time, 20 ms a step."""

import itertools

import numpy as np
import pytest

from sipgw.rtp.excess import ExcessWatch
from sipgw.rtp.kernels.columns import EXCESS, FAR
from sipgw.rtp.kernels.excess import dropped, may_drop, observe

FRAME, STEP_S = 160, 0.02


class Queue:
    """A depth that a test moves, watched as row 1."""

    def __init__(self, target=0):
        self.columns, self.target = np.zeros(3, EXCESS), target
        self.watch = ExcessWatch(self.columns)
        self.row = self.columns[1]
        self.now_s = 0.0
        self.watch.reset(1, 0.0)

    def run(self, seconds, *, depth, rate=1.0):
        """Run the queue with `depth` after each take and arrivals at `rate` times real time."""
        owed = 0.0
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            owed += FRAME * rate
            self.row["arrived"] += int(owed)
            owed -= int(owed)
            present = depth(self.now_s) if callable(depth) else depth
            observe(self.row, present, self.now_s, self.target, FAR)

    @property
    def debt(self):
        return int(self.row["debt"])

    def drops(self, steps, *, quiet):
        """Return, for each of the next steps, whether it drops a frame."""
        frames = []
        for _ in range(steps):
            self.now_s += STEP_S
            frames.append(bool(may_drop(self.row, quiet, self.now_s)))
        return frames


def test_a_backlog_that_stands_for_a_second_at_real_time_is_owed():
    queue = Queue()
    queue.run(1.1, depth=4000)
    assert queue.debt == 4000


def test_only_the_least_depth_of_the_second_is_owed():
    queue = Queue()
    queue.run(1.1, depth=lambda now: 800 if 0.5 < now < 0.55 else 4000)
    assert queue.debt == 800


def test_a_queue_that_once_fell_to_its_target_owes_nothing():
    queue = Queue(target=160)
    queue.run(1.1, depth=lambda now: 160 if 0.5 < now < 0.55 else 4000)
    assert queue.debt == 0


def test_what_is_below_the_target_is_never_owed():
    queue = Queue(target=160)
    queue.run(1.1, depth=480)
    assert queue.debt == 320


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.85, 1.2, 10.0])
def test_a_burst_or_its_end_is_no_backlog(rate):
    queue = Queue()
    queue.run(5, depth=50_000, rate=rate)
    assert queue.debt == 0


@pytest.mark.parametrize("rate", [0.92, 1.0, 1.08])
def test_a_clock_that_is_a_little_off_is_real_time(rate):
    queue = Queue()
    queue.run(1.1, depth=1600, rate=rate)
    assert queue.debt == 1600


def test_nothing_is_judged_after_a_stall_of_the_relay():
    queue = Queue()
    queue.run(0.9, depth=4000)
    queue.now_s += 1.0
    queue.run(0.02, depth=4000)
    assert queue.debt == 0


def test_quiet_frames_are_dropped_at_once_and_loud_ones_not():
    queue = Queue()
    queue.run(1.1, depth=4000)
    assert queue.drops(3, quiet=True) == [True] * 3
    assert queue.drops(3, quiet=False) == [False] * 3


def test_a_debt_that_nothing_quiet_pays_is_paid_by_every_second_frame():
    queue = Queue()
    queue.watch.reset(1, 0.0, patience_s=0.5)
    queue.run(1.0, depth=4000)
    patient = queue.drops(20, quiet=False)
    assert not any(patient)
    impatient = queue.drops(20, quiet=False)[-10:]
    assert sum(impatient) == 5
    assert all(a != b for a, b in itertools.pairwise(impatient))


def test_a_dropped_frame_is_paid_and_the_debt_never_falls_below_nothing():
    queue = Queue()
    queue.run(1.1, depth=400)
    dropped(queue.row, 160)
    assert queue.debt == 240
    dropped(queue.row, 320)
    assert queue.debt == 0


def test_a_cleared_queue_owes_nothing():
    queue = Queue()
    queue.run(1.1, depth=4000)
    queue.watch.forgive(1)
    assert queue.debt == 0
    queue.run(0.9, depth=4000)  # the second of observation that began before
    assert queue.debt == 0
