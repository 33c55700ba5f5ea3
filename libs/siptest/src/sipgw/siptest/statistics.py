"""The figures of a call."""

from dataclasses import dataclass
from typing import Protocol

from sipgw.siptest.media import PhoneMedia
from sipgw.siptest.probe import LatencySummary, echo_latencies, summarise


class Times(Protocol):
    """The times of a call; see CallTimes."""

    @property
    def answer_time_s(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class CallStatistics:
    """The phone's counts. `packets_lost` never arrived here.

    `reported_lost` is our loss by the peer's RTCP; None when it sent no report.
    """

    answer_time_ms: float | None
    packets_sent: int
    packets_received: int
    packets_lost: int
    packets_strange: int
    reported_lost: int | None
    jitter_ms: float
    longest_gap_ms: float
    worst_own_clock_ms: float
    """How late our sending clock was at worst: above 10, this machine was busy."""
    digits_sent: str
    digits_received: str


def measure(media: PhoneMedia, times: Times) -> CallStatistics:
    """Return the figures of a call."""
    received = media.received
    answer_time_s = times.answer_time_s
    return CallStatistics(
        answer_time_ms=None if answer_time_s is None else answer_time_s * 1000,
        packets_sent=media.sender.packets_sent,
        packets_received=len(received.packets),
        packets_lost=received.lost,
        packets_strange=received.strange_packets,
        reported_lost=media.reports[-1].cumulative_lost if media.reports else None,
        jitter_ms=received.jitter_ms,
        longest_gap_ms=received.longest_gap_ms,
        worst_own_clock_ms=media.sender.worst_lateness_s * 1000,
        digits_sent=media.sender.digits_sent,
        digits_received=received.digits,
    )


def echo_latency(media: PhoneMedia) -> LatencySummary | None:
    """Return how late our own speech came back, when the peer is an echo; this takes some milliseconds."""
    return summarise(echo_latencies(media.sent_track, media.received.track))
