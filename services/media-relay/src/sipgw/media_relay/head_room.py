"""RelayHeadRoom: whether another call can be taken: not when draining, not when the core or its ticks are
spent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sipgw.media_relay.tick import TickClock

MOST_TICK_LOAD: Final = 0.8
MOST_CPU: Final = 0.9  # of a core, over the last few seconds
_SMOOTHING: Final = 0.3


class RelayHeadRoom:
    """`measure` it once a second."""

    def __init__(self) -> None:
        self.is_draining = False
        self.is_stopping = False
        self.cpu = 0.0
        self._clock: TickClock | None = None
        self._cpu_s = time.process_time()
        self._at_s = time.monotonic()

    def watch(self, clock: TickClock) -> None:
        """From now on: what starting the process took does not count."""
        self._clock = clock
        self._cpu_s, self._at_s = time.process_time(), time.monotonic()

    def measure(self) -> None:
        cpu_s, at_s = time.process_time(), time.monotonic()
        if at_s > self._at_s:
            self.cpu += ((cpu_s - self._cpu_s) / (at_s - self._at_s) - self.cpu) * _SMOOTHING
        self._cpu_s, self._at_s = cpu_s, at_s

    def refusal(self) -> str:
        """See sessions.HeadRoom."""
        if self.is_stopping or self.is_draining:
            return "draining: the relay takes no new calls; place the call on another"
        load = self._clock.load if self._clock is not None else 0.0
        if load > MOST_TICK_LOAD:
            return f"ticks take {load:.0%} of their time: place the call on another relay"
        if self.cpu > MOST_CPU:
            return f"the relay uses {self.cpu:.0%} of a core: place the call on another relay"
        return ""
