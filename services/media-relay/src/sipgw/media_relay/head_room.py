"""RelayHeadRoom: whether another call can be taken: not while the relay drains, nor when its CPU is spent.

Of what it may use: a core, since one thread does the ticks, or less where the container has less.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sipgw.media_relay.cpu_limit import read_cpu_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipgw.media_relay.tick import TickClock

MOST_TICK_LOAD: Final = 0.8  # of the CPU that the relay may use
MOST_CPU: Final = 0.9  # likewise, over the last few seconds
_SMOOTHING: Final = 0.3  # a second


class RelayHeadRoom:
    """`measure` it once a second."""

    def __init__(
        self,
        cpu_s: Callable[[], float] = time.process_time,
        now_s: Callable[[], float] = time.monotonic,
        read_limit: Callable[[], float] = read_cpu_limit,
    ) -> None:
        self.is_draining = False
        self.is_stopping = False
        self.cpu = 0.0
        self.limit = 1.0  # cores that the relay may use
        self._clock: TickClock | None = None
        self._read_cpu_s, self._now_s, self._read_limit = cpu_s, now_s, read_limit
        self._cpu_s, self._at_s = cpu_s(), now_s()

    def watch(self, clock: TickClock) -> None:
        """From now on: what starting the process took does not count."""
        self._clock = clock
        self._cpu_s, self._at_s = self._read_cpu_s(), self._now_s()

    def measure(self) -> None:
        """What the last second took, or however long it was since the last time."""
        cpu_s, at_s = self._read_cpu_s(), self._now_s()
        if (elapsed_s := at_s - self._at_s) > 0:
            weight = 1 - (1 - _SMOOTHING) ** elapsed_s
            self.cpu += ((cpu_s - self._cpu_s) / elapsed_s - self.cpu) * weight
        self._cpu_s, self._at_s = cpu_s, at_s
        self.limit = min(self._read_limit(), 1.0)  # a pod may be resized while it runs

    def refusal(self) -> str:
        """See sessions.HeadRoom."""
        if self.is_stopping or self.is_draining:
            return "draining: the relay takes no new calls; place the call on another"
        load = (self._clock.load if self._clock is not None else 0.0) / self.limit
        if load > MOST_TICK_LOAD:
            return f"ticks take {load:.0%} of their time: place the call on another relay"
        if self.cpu > MOST_CPU * self.limit:
            return f"the relay uses {self.cpu:.0%} of a core: place the call on another relay"
        return ""
