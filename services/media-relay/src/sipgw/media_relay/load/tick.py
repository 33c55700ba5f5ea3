"""TickClock: the clock of the media plane, 5 ms a tick, on the event loop; it rests when there is no call."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from sipgw.media_relay.pipeline.stage import TICK_MS, Tick

TICK_S: Final = TICK_MS / 1000
REST_TICKS: Final = 20
"""A clock at rest goes on with every so manyth tick only: those that it divides."""
_ROUNDING_S: Final = 0.0005
"""The rounding of the loop's timers, which have milliseconds."""
LATE_S: Final = 0.02
"""A tick that runs later than this is late: its audio is a whole frame of 20 ms behind."""
_LOAD_SMOOTHING: Final = 0.005
"""The weight of one tick in the load, which so covers about a second."""


class TickClock:
    """Calls `on_tick(tick, missed)` every tick; after a stall, once with the number of missed ticks.

    While `may_rest` says so, it leaves out ticks, which are not missed: call `wake` before there is work.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_tick: Callable[[Tick, int], None],
        cpu_s: Callable[[], float] = time.thread_time,
        may_rest: Callable[[], bool] = lambda: False,
    ) -> None:
        self._loop = loop
        self._on_tick = on_tick
        self._cpu_s = cpu_s
        self._may_rest = may_rest
        self._origin_s = loop.time()
        self._number = 0
        self._next = 1
        """The number of the tick that the timer is set to."""
        self._timer: asyncio.TimerHandle | None = None
        self.load = 0.0
        """CPU of the ticks' work as a share of a core, over about a second."""
        self.missed = 0
        self.late = 0
        """The ticks, missed ones too, whose work was done more than `LATE_S` after it was due."""
        self.longest_s = 0.0
        """The longest tick since `take_longest_s` was last called."""
        self.longest_cpu_s = 0.0
        """The most CPU that one tick took since `take_longest_cpu_s` was last called."""
        self.longest_between_s = 0.0
        """The most CPU that the loop took between two ticks, since `take_longest_between_s`."""
        self._cpu_ended_s = 0.0
        """The thread's CPU when the last tick ended; 0: none has."""
        self.latest_s = 0.0
        """How late the latest tick began since `take_latest_s` was last called."""

    @property
    def number(self) -> int:
        """The number of the present tick."""
        return self._number

    @property
    def now(self) -> Tick:
        """The present tick, for use between ticks."""
        return Tick(self._number, self._number * TICK_S)

    @property
    def lag_s(self) -> float:
        """Time since the last tick. One that failed is never followed by another."""
        return self._loop.time() - self._origin_s - self._number * TICK_S

    def start(self) -> None:
        """Begin to tick."""
        self._schedule()

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """Do the present tick now if the clock rests, and all that follow."""
        if self._timer is None or self._next == self._number + 1:
            return
        self._timer.cancel()
        if (number := self._present()) > self._number:
            self._tick(number, missed=0)
        else:
            self._next = self._number + 1
            self._schedule()

    def take_longest_s(self) -> float:
        """Return the longest tick since the last call."""
        longest, self.longest_s = self.longest_s, 0.0
        return longest

    def take_longest_cpu_s(self) -> float:
        """Return the most CPU that one tick took since the last call."""
        longest, self.longest_cpu_s = self.longest_cpu_s, 0.0
        return longest

    def take_longest_between_s(self) -> float:
        """Return the most CPU that the loop's other work took between two ticks since the last call."""
        longest, self.longest_between_s = self.longest_between_s, 0.0
        return longest

    def take_latest_s(self) -> float:
        """Return how late the latest tick began since the last call."""
        latest, self.latest_s = self.latest_s, 0.0
        return latest

    def _schedule(self) -> None:
        self._timer = self._loop.call_at(self._origin_s + self._next * TICK_S, self._run)

    def _present(self) -> int:
        return int((self._loop.time() + _ROUNDING_S - self._origin_s) / TICK_S)

    def _run(self) -> None:
        number = self._present()
        if number < self._next:  # the timer came early
            self._schedule()
            return
        late_s = self._loop.time() - self._origin_s - self._next * TICK_S
        self.latest_s = max(self.latest_s, late_s)
        self.late += max(0, math.ceil((late_s - LATE_S) / TICK_S))  # the ticks that this run makes up for
        self._tick(number, missed=number - self._next)

    def _tick(self, number: int, *, missed: int) -> None:
        begun, cpu_begun = time.perf_counter(), self._cpu_s()
        if self._cpu_ended_s:
            self.longest_between_s = max(self.longest_between_s, cpu_begun - self._cpu_ended_s)
        passed = number - self._number
        self.missed += missed
        self._number = number
        self._on_tick(Tick(number, number * TICK_S), missed)
        self.longest_s = max(self.longest_s, time.perf_counter() - begun)
        self._cpu_ended_s = self._cpu_s()
        cpu_s = self._cpu_ended_s - cpu_begun
        self.longest_cpu_s = max(self.longest_cpu_s, cpu_s)
        self._weigh(cpu_s, ticks=passed)
        self._next = (number // REST_TICKS + 1) * REST_TICKS if self._may_rest() else number + 1
        self._schedule()

    def _weigh(self, cpu_s: float, *, ticks: int) -> None:
        """Add a run to the load, weighted by the time that it covers.

        CPU time, not wall time, is measured: a relay that other processes kept from the core has room.
        """
        share = cpu_s / (ticks * TICK_S)
        self.load += (share - self.load) * (1 - (1 - _LOAD_SMOOTHING) ** ticks)
