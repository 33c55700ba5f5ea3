"""Measure the excess depth of one call's queue; `sipgw.rtp.excess` defines it."""

from sipgw.rtp.kernels.columns import FAR, Record
from sipgw.rtp.kernels.declare import inlined

HALF_WINDOW_S = 0.5
_SLOWEST, _FASTEST = 0.9, 1.1
_SPEAKING = 0.5  # of real time: below it speech is ending
_BYTES_PER_S = 8000


@inlined
def observe(excess: Record, depth: int, now_s: float, target: int, full: int) -> None:
    """Note the depth of a queue after a period's frame was taken; call this for each period.

    `target`: bytes that are no backlog. A queue of `full` bytes or more holds its sender back.
    """
    if depth < excess["minimum"]:
        excess["minimum"] = depth
    if depth >= full:
        excess["was_full"] = True
    elapsed = now_s - excess["window_start"]
    if elapsed >= HALF_WINDOW_S:
        judge(excess, elapsed, now_s, target)


@inlined
def judge(excess: Record, elapsed: float, now_s: float, target: int) -> None:
    """Compute the queue's debt after a half window, and begin the next one."""
    second = elapsed + excess["elapsed_before"]
    rate = (excess["arrived"] + excess["arrived_before"]) / (second * _BYTES_PER_S)
    too_much = min(excess["minimum"], excess["minimum_before"]) - target
    is_whole = excess["elapsed_before"] > 0 and second < 3 * HALF_WINDOW_S
    holds_back = excess["was_full"] or excess["was_full_before"]
    if is_whole and too_much > 0 and _SLOWEST <= rate and rate <= _FASTEST and not holds_back:  # noqa: SIM300
        if excess["debt"] == 0:
            excess["owed_since"] = now_s
        excess["debt"] = too_much
    elif rate > _SPEAKING and not holds_back:
        # A second that can't be judged (after a stall) forgives only the part of the debt that has gone.
        excess["debt"] = min(max(too_much, 0), excess["debt"])
    else:  # the end of speech, and a sender held back, forgive all
        excess["debt"] = 0
    excess["elapsed_before"] = elapsed
    excess["minimum_before"] = excess["minimum"]
    excess["arrived_before"] = excess["arrived"]
    excess["was_full_before"] = excess["was_full"]
    open_window(excess, now_s)


@inlined
def open_window(excess: Record, now_s: float) -> None:
    """Begin a half window."""
    excess["window_start"] = now_s
    excess["minimum"] = FAR
    excess["arrived"] = 0
    excess["was_full"] = False


@inlined
def may_drop(excess: Record, quiet: bool, now_s: float) -> bool:  # noqa: FBT001
    """Return whether a queue in debt drops the frame at its head now."""
    excess["turn"] = not excess["turn"]
    return quiet or (now_s - excess["owed_since"] >= excess["patience"] and excess["turn"])


@inlined
def dropped(excess: Record, count: int) -> None:
    """Note that `count` bytes were dropped."""
    excess["debt"] = max(excess["debt"] - count, 0)
