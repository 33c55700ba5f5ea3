"""How many relays are needed, by calls and their growth, and for how long a need is remembered. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sipgw.operator.fleet import Memory, Observed, RelayState, SizingSpec

START_S: Final = 20.0
"""The time from requesting a relay to its first call."""
_GROWTH_WINDOWS_S: Final = (15.0, 60.0)
_CHANCE: Final = 2.0


def relays_needed(spec: SizingSpec, observed: Observed, memory: Memory) -> int:
    """Return the need by calls, call rate, growth and free ports, before any memory of earlier needs."""
    relays = observed.relays.values()
    used = float(sum(relay.used_units for relay in relays))
    calls = sum(relay.calls for relay in relays)
    units_per_call = used / calls if calls else 1.0
    growth = growth_per_s(memory.used, observed.setups_per_s * units_per_call**2)
    expected = used + growth * spec.lookahead_s
    by_target = expected / (memory.capacity_units * spec.target_utilization)
    by_rate = (used + observed.setups_per_s * units_per_call * START_S) / memory.capacity_units
    return min(max(math.ceil(max(by_target, by_rate) - 1e-9) + spec.warm, spec.least), spec.most)


def growth_per_s(used: Sequence[tuple[float, float]], noise_per_s: float = 0.0) -> float:
    """Return the steepest rise of the used units, over a short and a longer time; never below 0.

    `noise_per_s`: the variance per second caused by chance alone. Calls that come and go at random cause a
    rise of sqrt(2 * rate * time) without any trend, so twice that is left out.
    """
    if not used:
        return 0.0
    now, level = used[-1]
    steepest = 0.0
    for window in _GROWTH_WINDOWS_S:
        at, before = next((one for one in used if one[0] >= now - window), used[-1])
        if now - at >= window / 3:
            chance = _CHANCE * math.sqrt(2 * noise_per_s * (now - at))
            steepest = max(steepest, (level - before - chance) / (now - at))
    return steepest


def hold(spec: SizingSpec, needed: int, memory: Memory, now: float) -> tuple[int, Memory]:
    """Return the highest need within `scale_in_after_s`: up at once, down late."""
    earliest = now - spec.scale_in_after_s
    # A later and higher need replaces an earlier one, so the list stays short and falls.
    history = [(at, count) for at, count in memory.wanted if at >= earliest and count > needed]
    history.append((now, needed))
    wanted = min(max(history[0][1], spec.least), spec.most)
    return wanted, replace(memory, wanted=tuple(history))


def used_units(observed: Observed, memory: Memory, now: float) -> tuple[tuple[float, float], ...]:
    """Return the used units so far.

    Units of a relay that is heard again, or that was silent at the first pass, are no growth: they existed
    all along. A new leader may see only half of the relays when registries were away.
    """
    again = [
        (memory.silent_since[n], relay.used_units)
        for n, relay in observed.relays.items()
        if n in memory.silent_since and (n in memory.heard or memory.silent_since[n] == memory.began)
    ]
    earliest = now - max(_GROWTH_WINDOWS_S)
    before = (
        (at, level + sum(units for since, units in again if since <= at))
        for at, level in memory.used
        if at >= earliest
    )
    return (*before, (now, float(sum(relay.used_units for relay in observed.relays.values()))))


def mean_capacity(relays: Mapping[int, RelayState], before: float) -> float:
    """Return the average units of a relay; its ports or its CPU may be the tighter bound."""
    if not relays:
        return before
    used = sum(relay.used_units for relay in relays.values())
    calls = sum(relay.calls for relay in relays.values())
    units_per_call = used / calls if calls else 1.0
    fitting = [
        min(
            relay.capacity_units,
            (relay.calls + relay.ports_free) * units_per_call,
            relay.used_units if relay.is_full else math.inf,
        )
        for relay in relays.values()
    ]
    return max(sum(fitting) / len(fitting), 1.0)
