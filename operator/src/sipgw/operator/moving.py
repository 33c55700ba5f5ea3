"""Move a relay off the node where all of them are: seldom, one at a time, only where it can help. Pure.

A node that was drained and came back stays empty, since the scheduler moves nothing. So one relay is rolled
as for a new template: first one more starts, if the limit allows, in a lane that cannot land on the crowded
node; else the highest one is drained and restarted, and the scheduler prefers the empty node.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from sipgw.operator.fleet import Move, Observed
from sipgw.operator.spread import together

CROWDED_FOR_S: Final = 60.0
"""Wait so long before a move: after a drain, or while nodes come back, relays spread by themselves."""
MOVE_AGAIN_S: Final = 600.0
"""The time from one move to the next; doubled after each move that did not help."""
_MOVE_WITHIN_S: Final = 300.0
_MOST_DOUBLINGS: Final = 6


def next_move(
    move: Move, observed: Observed, serving: Collection[int], *, is_settled: bool, is_stuck: bool, now: float
) -> Move:
    """Return the move in progress now.

    `is_stuck`: requested relays do not start, so one more would not either.
    """
    numbers = {n for n, relay in observed.relays.items() if n in serving or relay.name == move.relay}
    found = together([observed.relays[n].node for n in sorted(numbers)], observed.nodes)
    if found is None:
        return Move(began=move.began, tries=move.tries if len(numbers) < 2 else 0)
    move = replace(move, crowded_since=now if move.crowded_since is None else move.crowded_since)
    if move.relay:
        beats = any(relay.name == move.relay for relay in observed.relays.values())
        is_over = is_stuck or not beats or now - move.began >= _MOVE_WITHIN_S
        return replace(move, relay="") if is_over else move
    waited = now - (move.crowded_since or 0.0)
    pause = MOVE_AGAIN_S * 2 ** min(max(move.tries - 1, 0), _MOST_DOUBLINGS)
    is_due = waited >= CROWDED_FOR_S and now - move.began >= pause
    if not (is_due and is_settled and found.has_elsewhere) or is_stuck:
        return move
    return replace(move, relay=observed.relays[max(numbers)].name, began=now, tries=move.tries + 1)


def as_outdated(observed: Observed, move: Move) -> Observed:
    """Return the state with the moving relay marked as outdated."""
    if not move.relay:
        return observed
    relays = {
        n: replace(relay, is_outdated=relay.is_outdated or relay.name == move.relay)
        for n, relay in observed.relays.items()
    }
    return replace(observed, relays=relays, is_rolling=True)
