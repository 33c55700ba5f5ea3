"""Compute the depth that a jitter buffer needs: the spread of transit times, quick to grow, slow to shrink.

A packet's transit time is our clock at its arrival less its position; only differences mean anything. In each
half second the latest packet's transit time less the least of the last second is what the buffer needed. The
target is the second largest need of the last four to eight seconds, so that a network that was late once,
as in a pause, is not taken for one that is late again and again. It is less by what a frame is waited for.

What is read late by our own fault was not late: of a packet that was read after a stall of ours it is known
only that it came meanwhile, so it counts as having come at its beginning when the latest packet is looked
for, and at its end when the fastest is.
"""

from typing import Final

from sipgw.rtp.kernels.columns import FAR, Record
from sipgw.rtp.kernels.declare import inlined

HALF_WINDOW: Final = 4000  # samples: 0.5 s
MOST_DEPTH: Final = 1280  # samples: a packet that is later than 160 ms is lost
PATIENCE: Final = 120  # samples: a frame that is not there is waited for, up to 15 ms
_LONGEST_SECOND: Final = 12_000  # samples: two half windows that a stall made longer say nothing
_HALVES_KEPT: Final = 8


@inlined
def reset(transit: Record, now: int) -> None:
    """Begin to measure a stream."""
    transit["begun"] = now
    transit["window_start"] = now
    restart(transit)
    transit["halves"] = 0
    transit["need_1"] = 0
    transit["need_2"] = 0
    transit["need_1_before"] = 0
    transit["need_2_before"] = 0
    transit["target"] = 0


@inlined
def note(transit: Record, now: int, position: int, stalled: int) -> None:
    """Note the transit time of a packet that came in the last `stalled` samples.

    A stream's first packets may have waited for us for any time.
    """
    time = now - position
    transit["least"] = min(transit["least"], time)
    if now > transit["begun"]:
        transit["most"] = max(transit["most"], time - stalled)


@inlined
def least(transit: Record) -> int:
    """Return the least transit time of the last second; FAR: no packet came."""
    return min(transit["least"], transit["least_before"])


@inlined
def restart(transit: Record) -> None:
    """Note that positions moved against the caller's time: earlier transit times can't be compared."""
    transit["least"] = FAR
    transit["most"] = -FAR
    transit["least_before"] = FAR
    transit["most_before"] = -FAR


@inlined
def is_over(transit: Record, now: int) -> bool:
    """Return whether the half window is over."""
    return now - transit["window_start"] >= HALF_WINDOW


@inlined
def excess(transit: Record, now: int, zero: int) -> int:
    """Return the depth of the buffer beyond its need, at the end of a half window; -1: unknown.

    `zero`: the transit time of a packet that would come at the last moment.
    """
    whole = transit["least"] != FAR and transit["least_before"] != FAR
    whole = whole and now - transit["window_start"] < _LONGEST_SECOND - HALF_WINDOW
    if not whole:
        return -1
    latest = max(transit["most"], transit["most_before"])
    return max(min(zero - latest, zero - least(transit) - transit["target"]), 0)


@inlined
def turn(transit: Record, now: int) -> None:
    """Learn from a half window, and begin the next one."""
    need = 0
    if transit["least"] != FAR:
        need = transit["most"] - least(transit)
        if need > MOST_DEPTH:
            need = 0
    if transit["halves"] >= _HALVES_KEPT:
        transit["halves"] = 0
        transit["need_1_before"] = transit["need_1"]
        transit["need_2_before"] = transit["need_2"]
        transit["need_1"] = 0
        transit["need_2"] = 0
    transit["halves"] += 1
    keep(transit, need)
    transit["least_before"] = transit["least"]
    transit["most_before"] = transit["most"]
    transit["least"] = FAR
    transit["most"] = -FAR
    transit["window_start"] = now


@inlined
def keep(transit: Record, need: int) -> None:
    """Keep a need if it is one of the two largest; the target is the second largest of all that are kept."""
    if need > transit["need_1"]:
        transit["need_2"] = transit["need_1"]
        transit["need_1"] = need
    elif need > transit["need_2"]:
        transit["need_2"] = need
    lesser = min(transit["need_1"], transit["need_1_before"])
    most = max(lesser, max(transit["need_2"], transit["need_2_before"]))  # noqa: PLW3301 - numba takes two
    transit["target"] = max(most - PATIENCE, 0)
