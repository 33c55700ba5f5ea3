"""The calls of a day: a curve with a peak, and bursts on top."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

DAY_S: Final = 86_400
Rates = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Burst:
    """Extra set-ups: `rate` more per second, from `at_s` on, after `rise_s`, for `lasts_s`."""

    name: str
    at_s: int
    rise_s: int
    lasts_s: int
    share: float
    """The rate as a share of the peak's."""


BURSTS: Final = (
    Burst("TV spot", 7 * 3600, 10, 120, 0.5),
    Burst("campaign", 11 * 3600, 60, 900, 0.35),
    Burst("carrier comes back", 14 * 3600 + 1800, 5, 60, 0.8),
    Burst("evening news", 20 * 3600, 20, 300, 0.4),
)


@dataclass(frozen=True)
class Day:
    """Arrivals of each step, drawn once, so that every rule gets the same calls."""

    step_s: float
    hold_s: float
    arrivals: Counts
    in_burst: npt.NDArray[np.bool_]

    @property
    def steps(self) -> int:
        return len(self.arrivals)


def make_day(*, peak_calls: int, hold_s: float, step_s: float, seed: int) -> Day:
    """Make a day with `peak_calls` by the curve alone, in the afternoon; the night has a twentieth."""
    times = np.arange(0, DAY_S, step_s)
    rate = peak_calls / hold_s * _curve(times)
    in_burst = np.zeros(len(times), dtype=bool)
    for burst in BURSTS:
        shape = np.clip((times - burst.at_s) / burst.rise_s, 0, 1) * (times < burst.at_s + burst.lasts_s)
        rate += burst.share * peak_calls / hold_s * shape
        in_burst |= (times >= burst.at_s) & (times < burst.at_s + burst.lasts_s + 60)
    arrivals = np.random.default_rng(seed).poisson(rate * step_s)
    return Day(step_s, hold_s, arrivals.astype(np.int64), in_burst)


def _curve(times: Rates) -> Rates:
    hours = times / 3600
    morning = np.exp(-(((hours - 10.5) / 2.2) ** 2))
    afternoon = np.exp(-(((hours - 15.5) / 2.6) ** 2))
    evening = 0.45 * np.exp(-(((hours - 20) / 1.8) ** 2))
    shape = np.maximum.reduce([0.85 * morning, afternoon, evening])
    return 0.05 + 0.95 * shape / shape.max()
