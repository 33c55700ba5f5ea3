"""The verdict on the demo: a pure function from the results to the reasons against it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipgw.siptest import CallStatistics, LatencySummary

_LEAST_PART_BACK = 0.8  # a busy machine skips some frames; the words stay intelligible


@dataclass(frozen=True, slots=True)
class Evidence:
    """`recorded_levels`: loudest sample of the recording's left and right channel; None without one."""

    statistics: "CallStatistics"
    latency: "LatencySummary | None"
    digits_sent: str
    digits_heard: str
    recorded_levels: tuple[int, int] | None
    crashes: tuple[str, ...] = ()


def reasons_against(evidence: Evidence) -> list[str]:
    """Return the reasons against a pass; empty when all went well."""
    numbers, latency = evidence.statistics, evidence.latency
    reasons = list(evidence.crashes)
    if numbers.packets_received == 0:
        reasons.append("no audio came back")
    elif latency is None:
        reasons.append("audio came back, but it was not what was said")
    elif latency.found < _LEAST_PART_BACK * latency.expected:
        reasons.append(f"only {latency.found} of {latency.expected} frames of speech came back")
    if numbers.packets_lost > 0:
        reasons.append(f"{numbers.packets_lost} packets were lost")
    if evidence.digits_heard != evidence.digits_sent:
        reasons.append(
            f"keys pressed were {evidence.digits_sent}, the bot heard {evidence.digits_heard or 'none'}"
        )
    if evidence.recorded_levels is None:
        reasons.append("there is no recording")
    elif min(evidence.recorded_levels) == 0:
        silent = "left (caller)" if evidence.recorded_levels[0] == 0 else "right (bot)"
        reasons.append(f"the recording's {silent} channel is silent")
    return reasons
