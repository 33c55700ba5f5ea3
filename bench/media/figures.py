"""The arithmetic of a measured window: percentiles of histograms, and which side lost a frame."""

import math
from dataclasses import dataclass
from typing import Any, Final, Self

_BIN_MS: Final = 0.1
LATE_MS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations, counted in steps of 0.1 ms."""

    bins: tuple[tuple[int, int], ...]
    longest_ms: float

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """Read the histogram that a program printed."""
        return cls(tuple((number, count) for number, count in said["bins"]), said["longest_ms"])

    @property
    def count(self) -> int:
        """How many durations there are."""
        return sum(count for _, count in self.bins)

    def percentile_ms(self, share: float) -> float:
        """Return the duration that this share of all does not exceed; not a number when there are none."""
        wanted, seen = share * self.count, 0
        for number, count in self.bins:
            seen += count
            if seen >= wanted:
                return min((number + 1) * _BIN_MS, self.longest_ms)
        return math.nan

    def above(self, ms: float) -> int:
        """Return the number of durations that are longer."""
        return sum(count for number, count in self.bins if number * _BIN_MS >= ms)


@dataclass(frozen=True, slots=True)
class Lost:
    """Frames that a caller sent and did not get back unchanged, by the place of the loss."""

    to_relay: int
    """The relay's sockets were full: it did not read them in time."""
    by_relay: int
    """The relay had them and sent nothing in their place, or silence."""
    not_whole: int
    """The caller got other audio instead: concealment, or parts of two frames."""
    from_relay: int
    """The callers' own sockets were full; no fault of the relay."""

    @property
    def of_relay(self) -> int:
        """All losses that the relay caused."""
        return self.to_relay + self.by_relay + self.not_whole


def split_loss(*, missing: int, dropped_there: int, dropped_here: int, not_whole: int) -> Lost:
    """Split the missing frames by the place of their loss.

    A socket that drops counts each datagram. What came back damaged can't be told from a frame that was made
    up beside a lost one, so that it explains at most what is missing still.
    """
    to_relay = min(dropped_there, missing)
    from_relay = min(dropped_here, missing - to_relay)
    damaged = min(not_whole, missing - to_relay - from_relay)
    return Lost(to_relay, missing - to_relay - from_relay - damaged, damaged, from_relay)


@dataclass(frozen=True, slots=True)
class Heard:
    """The callers' measurements in a window."""

    sent: int
    sent_in_all: int
    """Also those of the warm-up."""
    send_errors: int
    lost: Lost
    echoed_twice: int
    silent: int
    jitter_ms: float
    latency: Histogram
    lateness: Histogram
    """The lateness of packets by their timestamps, beside the most timely packet of the call."""
    timer: Histogram
    """How late the callers' own timer was."""


def heard(said: dict[str, Any], *, dropped_there: int, dropped_here: int) -> Heard:
    """Read the figures that the callers' program printed at the end of a window."""
    lost = split_loss(
        missing=said["sent"] - said["echoed"],
        dropped_there=dropped_there,
        dropped_here=dropped_here,
        not_whole=said["not_whole"],
    )
    return Heard(
        sent=said["sent"],
        sent_in_all=said["sent_in_all"],
        send_errors=said["send_errors"],
        lost=lost,
        echoed_twice=said["echoed_twice"],
        silent=said["silent"],
        jitter_ms=said["jitter_ms"],
        latency=Histogram.of(said["latency"]),
        lateness=Histogram.of(said["lateness"]),
        timer=Histogram.of(said["timer"]),
    )
