"""One day under one rule, and its cost."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scaling.day import Day
from scaling.fleet import Fleet
from scaling.rules import Rule

Series = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """Sums over the day, and the lines of the plot."""

    rule: str
    offered: int
    refused: int
    refused_in_bursts: int
    dropped: int
    moved: int
    relay_hours: float
    idle_relay_hours: float
    most_relays: int
    calls: Series
    relays: Series
    refused_a_step: Series


def run_day(day: Day, rule: Rule, fleet: Fleet) -> Outcome:
    """Run step by step: calls end, new ones are placed, the rule acts. Idle is room without calls."""
    calls, relays, refused = (np.zeros(day.steps) for _ in range(3))
    moved = dropped = 0
    recent: deque[int] = deque(maxlen=max(int(10 / day.step_s), 1))
    for step in range(day.steps):
        now = step * day.step_s
        fleet.end_calls(day.hold_s, day.step_s)
        arrivals = int(day.arrivals[step])
        refused[step] = fleet.place(arrivals, now)
        recent.append(arrivals - int(refused[step]))
        told = rule.act(fleet, sum(recent) / (len(recent) * day.step_s), now)
        moved, dropped = moved + told.moved, dropped + told.dropped
        calls[step], relays[step] = fleet.calls[: fleet.total].sum(), fleet.total
    hours = day.step_s / 3600
    return Outcome(
        rule=rule.name,
        offered=int(day.arrivals.sum()),
        refused=int(refused.sum()),
        refused_in_bursts=int(refused[day.in_burst].sum()),
        dropped=dropped,
        moved=moved,
        relay_hours=float(relays.sum() * hours),
        idle_relay_hours=float((relays - calls / fleet.capacity).sum() * hours),
        most_relays=int(relays.max()),
        calls=calls,
        relays=relays,
        refused_a_step=refused,
    )
