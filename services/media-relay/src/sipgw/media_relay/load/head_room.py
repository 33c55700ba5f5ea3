"""RelayHeadRoom: whether another call can be taken: not while the relay drains, nor when it is full, that is
when its CPU is spent. A full relay keeps its calls; a draining one gives them away.

Of what it may use: a core, since one thread does the ticks, or less where the container has less.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sipgw.media_relay.load.cpu_limit import read_cpu_limit
from sipgw.runtime.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipgw.media_relay.load.tick import TickClock

MOST_TICK_LOAD: Final = 0.8
"""Of the CPU that the relay may use."""
MOST_CPU: Final = 0.9
"""Likewise, over the last few seconds."""
_SMOOTHING: Final = 0.3
"""A second."""
_CLEARLY: Final = 0.9
"""Of what makes a relay full: below it, the log says that there is room again."""
_log = get_logger("sipgw.media_relay.head_room")


class RelayHeadRoom:
    """`measure` it once a second."""

    def __init__(
        self,
        clock: TickClock,
        cpu_s: Callable[[], float] = time.process_time,
        now_s: Callable[[], float] = time.monotonic,
        read_limit: Callable[[], float] = read_cpu_limit,
    ) -> None:
        self.is_stopping = False
        self._is_draining = False
        self.cpu = 0.0
        self.limit = 1.0
        """Cores that the relay may use."""
        self._clock = clock
        self._was_full = False
        """By the log."""
        self._read_cpu_s, self._now_s, self._read_limit = cpu_s, now_s, read_limit
        self._cpu_s, self._at_s = cpu_s(), now_s()

    def begin(self) -> None:
        """Measure from now on: what starting the process took does not count."""
        self._cpu_s, self._at_s = self._read_cpu_s(), self._now_s()

    def drain(self, *, on: bool) -> None:
        """Begin or stop to give calls away, as the registry says."""
        self._is_draining = on

    def stop(self) -> None:
        """Give calls away until the process ends."""
        self.is_stopping = True

    def measure(self) -> None:
        """What the last second took, or however long it was since the last time."""
        cpu_s, at_s = self._read_cpu_s(), self._now_s()
        if (elapsed_s := at_s - self._at_s) > 0:
            weight = 1 - (1 - _SMOOTHING) ** elapsed_s
            self.cpu += ((cpu_s - self._cpu_s) / elapsed_s - self.cpu) * weight
        self._cpu_s, self._at_s = cpu_s, at_s
        self.limit = min(self._read_limit(), 1.0)  # a pod may be resized while it runs

        self._log_changes()

    @property
    def gives_away(self) -> bool:
        """The relay drains: it takes no calls and gives its own to others."""
        return self.is_stopping or self._is_draining

    def refusal(self) -> str:
        """See allocation.HeadRoom: why no call can be taken, beginning with "full" or "draining"."""
        if self.gives_away:
            return "draining: the relay gives its calls to others; place the call on another"
        why = self.full_reason()
        return f"full: {why}; place the call on another relay" if why else ""

    def full_reason(self, share: float = 1.0) -> str:
        """Why the relay is full; empty when it is not. `share` of the bounds for being sooner full."""
        load = self._clock.load
        if load > MOST_TICK_LOAD * self.limit * share:
            return f"ticks take {load / self.limit:.0%} of the CPU that the relay may use"
        if self.cpu > MOST_CPU * self.limit * share:
            return f"the relay uses {self.cpu / self.limit:.0%} of the CPU that it may use"
        return ""

    def _log_changes(self) -> None:
        """Once for each time that it was full: the load goes up and down by a little all the time."""
        if not self._was_full and (why := self.full_reason()):
            self._was_full = True
            _log.warning("relay_became_full", reason=why, effect="new calls are placed on other relays")
        elif self._was_full and not self.full_reason(_CLEARLY):
            self._was_full = False
            _log.info("relay_had_room_again", cpu_cores=round(self.cpu, 2))
