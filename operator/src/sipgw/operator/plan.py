"""How many relays, and which of them go: a pure function from what is observed to what shall be done.

Relays are numbered: number i is ordinal i // L of lane i % L. Placement fills the lowest first, so the
highest are the emptiest and go first. What was is kept in a `Memory`, which a restart of the operator may
lose: it then waits before it takes anything away.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

START_S: Final = 20.0
"""From asking for a relay to its first call."""
STUCK_AFTER_S: Final = 120.0
"""A relay that has never been heard of for so long will not come soon."""
LOST_AFTER_S: Final = 15.0
"""A relay that was there and is silent for so long does not come back by itself: its node is gone."""
RESTART_AGAIN_S: Final = 30.0
_GROWTH_WINDOWS_S: Final = (15.0, 60.0)
_CHANCE: Final = 2.0
_DEFAULT_CAPACITY: Final = 500.0


@dataclass(frozen=True, slots=True)
class SizingSpec:
    """What people say, with the defaults of SipGateway; `lanes` is the chart's."""

    lanes: int = 4
    least: int = 2
    most: int = 64
    target_utilization: float = 0.7
    warm: int = 1
    lookahead_s: float = 60.0
    scale_in_after_s: float = 300.0
    drain_deadline_s: float = 60.0


@dataclass(frozen=True, slots=True)
class RelayState:
    """A relay whose heart beats. `is_drain_requested`: it was us; else it goes by itself."""

    name: str
    capacity_units: int
    used_units: int = 0
    calls: int = 0
    ports_free: int = 1 << 20
    is_draining: bool = False
    is_drain_requested: bool = False
    is_outdated: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """Now: replicas a lane as they are asked for, and the relays that beat, by number."""

    replicas: tuple[int, ...]
    relays: Mapping[int, RelayState]
    setups_per_s: float = 0.0
    outdated_silent: frozenset[str] = frozenset()
    """Pods of an old template whose relay does not beat, by name: they are replaced at once."""
    is_rolling: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What was before."""

    used: tuple[tuple[float, float], ...] = ()
    began: float = 0.0
    """When the first pass was."""
    wanted: tuple[tuple[float, int], ...] = ()
    capacity_units: float = _DEFAULT_CAPACITY
    silent_since: Mapping[int, float] = field(default_factory=dict[int, float])
    heard: frozenset[int] = frozenset()
    leaving: frozenset[int] = frozenset()
    """Silent since, but drained before: they were stopped on purpose and come back."""
    draining_since: Mapping[int, float] = field(default_factory=dict[int, float])
    restarted_at: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, each part empty when there is nothing. `restart`: end the pod, it comes back new."""

    wanted: int
    replicas: tuple[int, ...]
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


def plan(spec: SizingSpec, observed: Observed, memory: Memory, now: float) -> tuple[Plan, Memory]:
    """Wanted relays, replicas of each lane, whom to drain and to take back, whom to restart."""
    memory = _remember(observed, memory, now)
    needed = relays_needed(spec, observed, memory)
    surge = max(1, len(observed.relays) // 10) if observed.is_rolling else 0
    wanted, memory = _held(spec, min(needed + surge, spec.most), memory, now)
    census = _census(spec, observed, memory, now)
    keep = frozenset(sorted(census.usable)[:wanted])
    going, restart = _roll(spec, observed, memory, census, needed, surge, now)
    drain = going | _excess_to_drain(observed, census, keep, wanted)
    undrain = {n for n in keep if n in observed.relays and observed.relays[n].is_drain_requested}
    total = _total(spec, observed, memory, census, keep, wanted, now)
    made = Plan(
        wanted=wanted,
        replicas=replicas_of(total, spec.lanes),
        drain=tuple(observed.relays[n].name for n in sorted(drain)),
        undrain=tuple(observed.relays[n].name for n in sorted(undrain)),
        restart=tuple(sorted(restart)),
    )
    return made, replace(memory, restarted_at={**memory.restarted_at, **dict.fromkeys(restart, now)})


def relays_needed(spec: SizingSpec, observed: Observed, memory: Memory) -> int:
    """From calls, call rate, growth and free ports, before any memory of what was needed earlier."""
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
    """The steepest rise of the used units, over a short and a longer while; never below 0.

    `noise_per_s`: variance that chance alone brings a second. Calls that come and go at random make a rise of
    sqrt(2 * rate * time) without meaning anything, so twice that is left out.
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


def replicas_of(total: int, lanes: int) -> tuple[int, ...]:
    """Replicas of each lane for relays 0 to total - 1."""
    return tuple(max(-(-(total - lane) // lanes), 0) for lane in range(lanes))


def total_of(replicas: Sequence[int]) -> int:
    """One more than the highest number that these replicas have."""
    lanes = len(replicas)
    return max(((count - 1) * lanes + lane + 1 for lane, count in enumerate(replicas) if count), default=0)


@dataclass(frozen=True, slots=True)
class _Census:
    """Numbers by what they are good for. `usable` serve, will serve soon, or can be taken back."""

    serving: frozenset[int]
    starting: frozenset[int]
    usable: frozenset[int]
    written_off: frozenset[int]
    returning: int
    """How many drain now and come back: no reason to start others."""


def _remember(observed: Observed, memory: Memory, now: float) -> Memory:
    relays, total = observed.relays, total_of(observed.replicas)
    silent = frozenset(range(total)) - frozenset(relays)
    return Memory(
        used=_used(observed, memory, now),
        began=memory.began if memory.used else now,
        wanted=memory.wanted,
        capacity_units=_capacity(relays, memory.capacity_units),
        silent_since={n: memory.silent_since.get(n, now) for n in sorted(silent)},
        heard=(memory.heard | frozenset(relays)) & frozenset(range(total)),
        leaving=(memory.leaving | frozenset(memory.draining_since)) & silent,
        draining_since={
            n: memory.draining_since.get(n, now) for n, relay in relays.items() if relay.is_draining
        },
        restarted_at={name: at for name, at in memory.restarted_at.items() if now - at < RESTART_AGAIN_S},
    )


def _used(observed: Observed, memory: Memory, now: float) -> tuple[tuple[float, float], ...]:
    """The used units so far. Those of a relay that is heard again are no growth: they were there all along.

    So are those of one that was silent at the first pass: registries that were away leave a new leader with
    half of the relays.
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


def _capacity(relays: Mapping[int, RelayState], before: float) -> float:
    """Units that a relay takes, on average; ports may be the tighter bound."""
    if not relays:
        return before
    used = sum(relay.used_units for relay in relays.values())
    calls = sum(relay.calls for relay in relays.values())
    units_per_call = used / calls if calls else 1.0
    fitting = [
        min(relay.capacity_units, (relay.calls + relay.ports_free) * units_per_call)
        for relay in relays.values()
    ]
    return max(sum(fitting) / len(fitting), 1.0)


def _held(spec: SizingSpec, needed: int, memory: Memory, now: float) -> tuple[int, Memory]:
    """The most that was needed within `scale_in_after_s`: up at once, down late."""
    earliest = now - spec.scale_in_after_s
    # A later and higher need makes an earlier one meaningless: the list stays short and falls.
    history = [(at, count) for at, count in memory.wanted if at >= earliest and count > needed]
    history.append((now, needed))
    wanted = min(max(history[0][1], spec.least), spec.most)
    return wanted, replace(memory, wanted=tuple(history))


def _census(spec: SizingSpec, observed: Observed, memory: Memory, now: float) -> _Census:
    total = total_of(observed.replicas)
    relays = {n: relay for n, relay in observed.relays.items() if n < total}
    serving = frozenset(n for n, relay in relays.items() if not relay.is_draining)
    back = frozenset(n for n, one in relays.items() if one.is_drain_requested and not one.is_outdated)
    dead = {
        n
        for n, since in memory.silent_since.items()
        if n in memory.heard and n not in memory.leaving and now - since >= LOST_AFTER_S
    }
    stuck = [n for n, since in memory.silent_since.items() if n not in dead and now - since >= STUCK_AFTER_S]
    # Where nothing can start, more of it would not either: two are tried, and as many more as came up since.
    came_up = sum(1 for n in serving if stuck and n > stuck[0])
    written_off = frozenset(dead) | frozenset(stuck[: 2 + came_up])
    starting = frozenset(memory.silent_since) - written_off
    rolling = sum(1 for one in relays.values() if one.is_outdated and one.is_draining)
    leaving = sum(1 for one in relays.values() if one.is_draining and not one.is_drain_requested)
    returning = rolling + min(max(leaving - rolling, 0), spec.warm)
    return _Census(serving, starting, serving | starting | back, written_off, returning)


def _excess_to_drain(observed: Observed, census: _Census, keep: frozenset[int], wanted: int) -> set[int]:
    """The highest first, a few at a time, and none while one that shall stay is not there yet."""
    if not keep <= census.serving:
        return set()
    excess = census.usable - keep
    moving = sum(1 for n in excess if n in observed.relays and observed.relays[n].is_draining)
    room = max(1, wanted // 10) - moving
    return set(sorted(excess & census.serving, reverse=True)[: max(room, 0)])


def _total(
    spec: SizingSpec,
    observed: Observed,
    memory: Memory,
    census: _Census,
    keep: frozenset[int],
    wanted: int,
    now: float,
) -> int:
    """How many numbers there shall be: more for what is missing, fewer from the top when that is empty."""
    total = total_of(observed.replicas)
    missing = wanted - len(keep) - census.returning
    if missing > 0:
        room = spec.most - (total - len(census.written_off))
        return total + max(min(missing, room), 0)
    while total > wanted and total - 1 not in keep and _may_go(spec, observed, memory, total - 1, now):
        total -= 1
    return total


def _may_go(spec: SizingSpec, observed: Observed, memory: Memory, number: int, now: float) -> bool:
    """Whether ending the relay costs nobody anything, or its time is over."""
    relay = observed.relays.get(number)
    if relay is None:
        return True
    if not relay.is_draining:
        return False
    return relay.calls == 0 or now - memory.draining_since[number] >= spec.drain_deadline_s


def _roll(
    spec: SizingSpec,
    observed: Observed,
    memory: Memory,
    census: _Census,
    needed: int,
    surge: int,
    now: float,
) -> tuple[set[int], set[str]]:
    """Whom to drain next because of an old template, and whose pod may end now."""
    old = {n: relay for n, relay in observed.relays.items() if relay.is_outdated}
    done = {
        relay.name
        for n, relay in old.items()
        if relay.is_drain_requested and _may_go(spec, observed, memory, n, now)
    }
    restart = {name for name in done | observed.outdated_silent if name not in memory.restarted_at}
    # Without the one more that goes before a roll, since there is no room for it, the roll uses the reserve.
    has_surge = not census.written_off and needed + surge <= spec.most
    # Never the room that calls have now: at the most relays and full, a roll waits for fewer calls.
    full = math.ceil(sum(relay.used_units for relay in observed.relays.values()) / memory.capacity_units)
    floor = max(needed if has_surge else needed - 1, full, 1)
    going = sum(1 for relay in observed.relays.values() if relay.is_draining)
    room = min(len(census.serving) - floor, max(surge, 1) - going - len(census.starting))
    waiting = sorted((n for n, relay in old.items() if not relay.is_draining), reverse=True)
    return set(waiting[: max(room, 0)]), restart
