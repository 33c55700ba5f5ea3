"""RelayHeadRoom: whether the relay can take another call.

It can't while it drains, nor when it is full, which means that its CPU is spent, nor while its audio is late,
whatever the CPU says. A full or late relay keeps its calls; a draining one gives them away. It may use one
core, since one thread does the ticks, or less where the container has less.
"""

import time
from collections.abc import Callable
from typing import Final

from sipgw.media_relay.load.cpu_limit import read_cpu_limit
from sipgw.media_relay.load.lateness import WINDOW_S, AudioLateness
from sipgw.media_relay.load.tick import LATE_S, TickClock
from sipgw.runtime.telemetry.logs import get_logger

MOST_TICK_LOAD: Final = 0.8
"""The most that ticks may take, as a share of the CPU that the relay may use."""
MOST_CPU: Final = 0.9
"""The most that the process may take over the last few seconds, as such a share."""
_SMOOTHING: Final = 0.3
"""Weight of the last second in the smoothed CPU."""
_CLEARLY: Final = 0.9
"""The log says that there is room again below this share of the bounds."""
_log = get_logger("sipgw.media_relay.head_room")


class RelayHeadRoom:
    """Knows whether there is room. Call `measure` once a second."""

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
        """The cores that the relay may use."""
        self._clock = clock
        self._was_full = False
        """Whether the log last said that the relay is full."""
        self._lateness = AudioLateness()
        self._late, self._ticks = 0, 0
        self._read_cpu_s, self._now_s, self._read_limit = cpu_s, now_s, read_limit
        self._cpu_s, self._at_s = cpu_s(), now_s()

    def begin(self) -> None:
        """Measure from now on, without the CPU that starting the process took."""
        self._cpu_s, self._at_s = self._read_cpu_s(), self._now_s()
        self._late, self._ticks = self._clock.late, self._clock.number

    def drain(self, *, on: bool) -> None:
        """Begin or stop giving calls away, as the registry says."""
        self._is_draining = on

    def stop(self) -> None:
        """Give calls away until the process ends."""
        self.is_stopping = True

    def measure(self, *, has_calls: bool) -> None:
        """Measure CPU and lateness since the last call, a second ago. Without calls, no audio is late."""
        cpu_s, at_s = self._read_cpu_s(), self._now_s()
        if (elapsed_s := at_s - self._at_s) > 0:
            weight = 1 - (1 - _SMOOTHING) ** elapsed_s
            self.cpu += ((cpu_s - self._cpu_s) / elapsed_s - self.cpu) * weight
        self._cpu_s, self._at_s = cpu_s, at_s
        self.limit = min(self._read_limit(), 1.0)  # a pod may be resized while it runs
        self._log_changes()
        self._judge_lateness(has_calls=has_calls)

    @property
    def gives_away(self) -> bool:
        """Whether the relay drains: it takes no calls and gives its own to others."""
        return self.is_stopping or self._is_draining

    def refusal(self) -> str:
        """Return why no call can be taken: "full: ...", "late: ..." or "draining: ..."; else empty."""
        if self.gives_away:
            return "draining: the relay gives its calls to others; place the call on another"
        if why := self.full_reason():
            return f"full: {why}; place the call on another relay"
        return f"late: {self._late_reason()}; place the call on another relay" if self.is_late else ""

    @property
    def is_late(self) -> bool:
        """Whether the audio of the calls is late."""
        return self._lateness.is_late

    def full_reason(self, share: float = 1.0) -> str:
        """Return why the relay is full; empty when it is not. `share` lowers the bounds."""
        load = self._clock.load
        if load > MOST_TICK_LOAD * self.limit * share:
            return f"ticks take {load / self.limit:.0%} of the CPU that the relay may use"
        if self.cpu > MOST_CPU * self.limit * share:
            return f"the relay uses {self.cpu / self.limit:.0%} of the CPU that it may use"
        return ""

    def _late_reason(self) -> str:
        share, late_ms = self._lateness.share, LATE_S * 1000
        return f"the audio is late: {share:.0%} of the last {WINDOW_S} s ran more than {late_ms:.0f} ms late"

    def _judge_lateness(self, *, has_calls: bool) -> None:
        late, ticks = self._clock.late - self._late, self._clock.number - self._ticks
        self._late, self._ticks = self._clock.late, self._clock.number
        was_late = self.is_late
        self._lateness.observe(late if has_calls else 0, ticks)
        if self.is_late and not was_late:
            _log.warning(
                "audio_became_late",
                reason=self._late_reason(),
                effect="new calls are placed on other relays",
                cure="leave the relay its core: see what else runs on this machine",
                cpu_cores=round(self.cpu, 2),
            )
        elif was_late and not self.is_late:
            _log.info("audio_was_on_time_again")

    def _log_changes(self) -> None:
        """Log once each time the relay becomes full: the load goes up and down a little all the time."""
        if not self._was_full and (why := self.full_reason()):
            self._was_full = True
            _log.warning("relay_became_full", reason=why, effect="new calls are placed on other relays")
        elif self._was_full and not self.full_reason(_CLEARLY):
            self._was_full = False
            _log.info("relay_had_room_again", cpu_cores=round(self.cpu, 2))
