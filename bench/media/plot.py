"""The picture: cores and echo latency against calls, beside the floor."""

from pathlib import Path
from typing import Final

import matplotlib as mpl

from media.rows import Row, best_of

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_COLOURS: Final = {"trunk": "#1b7f5c", "builtin": "#33658a", "recorded": "#c2571a"}
_FLOOR: Final = "#777777"
_BAD: Final = "#b00020"
_MOST_MS: Final = 150.0
"""The end of the latency axis: an overloaded relay would hide all others."""


def draw(rows: list[Row], path: Path) -> None:
    """Draw lines through the best windows and a dot for every window."""
    figure, (cores, latency) = plt.subplots(2, 1, figsize=(9, 9), sharex=True, height_ratios=[3, 2])
    for series, colour in _COLOURS.items():
        _draw_series(cores, latency, [row for row in rows if row.series == series], colour)
    _draw_floor(cores, rows)
    if bad := [row for row in rows if not row.holds]:
        at, spent = [row.calls for row in bad], [row.core for row in bad]
        cores.scatter(at, spent, color=_BAD, marker="x", s=60, label="a loss, late tick or refusal")
    cores.axhline(1.0, color=_BAD, lw=0.8, ls=":", label="one core: a relay has no more")
    cores.set_ylabel("cores")
    latency.set_ylabel("echo latency, ms")
    latency.set_xlabel("calls")
    for panel in (cores, latency):
        panel.set_xlim(0, None)
        panel.set_ylim(0, None)
        panel.legend(loc="upper left", fontsize=8)
        panel.grid(alpha=0.25)
    latency.set_ylim(0, min(_MOST_MS, latency.get_ylim()[1]))
    cores.set_title("A relay's CPU by calls, PCMU 20 ms: lines through the best windows", loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_series(cores: Axes, latency: Axes, rows: list[Row], colour: str) -> None:
    if not rows:
        return
    best = sorted(best_of(rows).values(), key=lambda row: row.calls)
    at = [row.calls for row in best]
    name = rows[0].series
    cores.plot(at, [row.core for row in best], color=colour, marker="o", ms=4, label=f"relay, {name}")
    cores.scatter([row.calls for row in rows], [row.core for row in rows], color=colour, s=8, alpha=0.5)
    latency.plot(at, [row.p99_ms for row in best], color=colour, marker="o", ms=4, label=f"{name}, p99")
    latency.plot(at, [row.p50_ms for row in best], color=colour, ls="--", lw=1, label=f"{name}, p50")


def _draw_floor(cores: Axes, rows: list[Row]) -> None:
    least: dict[int, Row] = {}
    for row in sorted(rows, key=lambda row: (row.calls, -row.floor_core)):
        least[row.calls] = row
    line = list(least.values())
    cores.plot(
        [*least], [row.floor_core for row in line], color=_FLOOR, marker="s", ms=4, label="floor: plain C"
    )
    cores.scatter([row.calls for row in rows], [row.floor_core for row in rows], color=_FLOOR, s=8, alpha=0.5)
