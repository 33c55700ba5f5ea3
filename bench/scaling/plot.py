"""The picture: calls and room over the day, and refused calls."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from scaling.day import BURSTS, Day
from scaling.run import Outcome

mpl.use("Agg")
from matplotlib import pyplot as plt

_COLOURS = ("#1b7f5c", "#c2571a", "#7a5195", "#33658a")


def draw(day: Day, outcomes: list[Outcome], capacity: int, path: Path) -> None:
    """Draw three panels, one above the other."""
    hours = np.arange(day.steps) * day.step_s / 3600
    figure, (calls, idle, refused) = plt.subplots(3, 1, figsize=(11, 9), sharex=True, height_ratios=[3, 2, 2])
    calls.fill_between(hours, outcomes[0].calls / 1000, color="#d9d9d9", label="calls")
    for outcome, colour in zip(outcomes, _COLOURS, strict=False):
        calls.plot(hours, outcome.relays * capacity / 1000, color=colour, lw=1, label=f"room: {outcome.rule}")
        unused = outcome.relays - outcome.calls / capacity
        idle.plot(hours, unused, color=colour, lw=0.8, label=outcome.rule)
        refused.plot(hours, np.cumsum(outcome.refused_a_step) + 1, color=colour, lw=1.2, label=outcome.rule)
    for burst in BURSTS:
        calls.annotate(burst.name, (burst.at_s / 3600, 0.02), xycoords=("data", "axes fraction"), fontsize=8)
    calls.set_ylabel("thousand calls")
    idle.set_ylabel("relays without use")
    refused.set_ylabel("calls refused so far")
    refused.set_yscale("log")
    refused.set_xlabel("hour of the day")
    refused.set_xticks(range(0, 25, 2))
    for panel in (calls, idle, refused):
        panel.legend(loc="upper left", fontsize=8)
        panel.grid(alpha=0.25)
    calls.set_title("A day of the gateway: room for calls under each rule", loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
