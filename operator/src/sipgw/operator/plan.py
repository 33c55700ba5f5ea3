"""How many relays to run, and which to remove: a pure function of the observed state.

Placement fills the lowest numbers first, so the highest are the emptiest and go first, unless many are on one
node. Earlier passes are kept in a `Memory`, which a restart of the operator may lose. It then observes for a
while, and keeps what it found for as long as any need, before it removes anything.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from sipgw.operator.fleet import Memory, Move, Observed, Plan, SizingSpec
from sipgw.operator.moving import as_outdated, next_move
from sipgw.operator.sizing import hold, mean_capacity, relays_needed, used_units
from sipgw.operator.spread import Site, first_to_go, lane_for_next

STUCK_AFTER_S: Final = 120.0
"""A relay without any heartbeat for so long will not start soon."""
LOST_AFTER_S: Final = 15.0
"""A relay that is silent for so long does not return by itself: its node is gone."""
SETTLE_S: Final = 30.0
"""The time before a new leader removes anything: relays that start, or return, come by then."""
RESTART_AGAIN_S: Final = 30.0


def plan(spec: SizingSpec, observed: Observed, memory: Memory, now: float) -> tuple[Plan, Memory]:
    """Return the wanted relays, replicas per lane, relays to drain, to take back and to restart."""
    memory = _remember(observed, memory, now)
    census = _census(observed, memory, spec.warm, now)
    memory = replace(memory, move=_next_move(observed, memory, census, now))
    observed = as_outdated(observed, memory.move)
    census = _census(observed, memory, spec.warm, now)
    needed = relays_needed(spec, observed, memory)
    surge = max(1, len(observed.relays) // 10) if observed.is_rolling else 0
    is_settling = now - memory.began < SETTLE_S
    there = len(census.serving) if is_settling else 0
    wanted, memory = hold(spec, min(max(needed + surge, there), spec.most), memory, now)
    leaving = _first_to_go(spec, observed, memory, census)[: max(len(census.usable) - wanted, 0)]
    keep = census.usable - frozenset(leaving)
    going, restart = _roll(spec, observed, memory, census, needed, surge, now)
    drain = going if is_settling else going | _excess_to_drain(observed, census, leaving, keep, wanted)
    undrain = {n for n in keep if n in observed.relays and observed.relays[n].is_drain_requested}
    made = Plan(
        wanted=wanted,
        replicas=_replicas(spec, observed, memory, census, keep, wanted, now),
        drain=tuple(observed.relays[n].name for n in sorted(drain)),
        undrain=tuple(observed.relays[n].name for n in sorted(undrain)),
        restart=tuple(sorted(restart)),
    )
    return made, replace(memory, restarted_at={**memory.restarted_at, **dict.fromkeys(restart, now)})


@dataclass(frozen=True, slots=True)
class _Census:
    """The numbers of relays by their state. `usable` relays serve, will serve soon, or can be taken back."""

    serving: frozenset[int]
    starting: frozenset[int]
    usable: frozenset[int]
    dead: frozenset[int]
    stuck: frozenset[int]
    """Relays that were never heard and are no longer waited for."""
    returning: int
    """The number of relays that drain now and come back: no reason to start others."""

    @property
    def written_off(self) -> int:
        return len(self.dead | self.stuck)


def _remember(observed: Observed, memory: Memory, now: float) -> Memory:
    relays, numbers = observed.relays, observed.numbers
    silent = numbers - frozenset(relays)
    gone = {n: one for n, one in observed.gone.items() if n in silent}
    stopped = frozenset(n for n, one in gone.items() if one.was_draining)
    places = (
        {n: place for n, place in memory.places.items() if n in silent}
        | {n: one.node for n, one in gone.items()}
        | {n: relay.node for n, relay in relays.items() if n in numbers}
    )
    return Memory(
        used=used_units(observed, memory, now),
        began=memory.began if memory.used else now,
        wanted=memory.wanted,
        capacity_units=mean_capacity(relays, memory.capacity_units),
        silent_since={n: memory.silent_since.get(n, now) for n in sorted(silent)},
        heard=(memory.heard | frozenset(relays) | frozenset(gone)) & numbers,
        leaving=(memory.leaving | frozenset(memory.draining_since) | stopped) & silent,
        draining_since={
            n: memory.draining_since.get(n, now) for n, relay in relays.items() if relay.is_draining
        },
        restarted_at={name: at for name, at in memory.restarted_at.items() if now - at < RESTART_AGAIN_S},
        places=places,
        move=memory.move,
    )


def _is_settling(memory: Memory, now: float) -> bool:
    return now - memory.began < SETTLE_S


def _census(observed: Observed, memory: Memory, warm: int, now: float) -> _Census:
    relays = {n: relay for n, relay in observed.relays.items() if n in observed.numbers}
    serving = frozenset(n for n, relay in relays.items() if not relay.is_draining)
    back = frozenset(n for n, one in relays.items() if one.is_drain_requested and not one.is_outdated)
    dead = frozenset(
        n
        for n, since in memory.silent_since.items()
        if n in memory.heard and n not in memory.leaving and now - since >= LOST_AFTER_S
    )
    late = [n for n, since in memory.silent_since.items() if n not in dead and now - since >= STUCK_AFTER_S]
    # Where nothing can start, more would not start either: two are tried, plus as many as have started since.
    came_up = sum(1 for n in serving if late and n > late[0])
    stuck = frozenset(late[: 2 + came_up])
    starting = frozenset(memory.silent_since) - dead - stuck
    rolling = sum(1 for one in relays.values() if one.is_outdated and one.is_draining)
    leaving = sum(1 for one in relays.values() if one.is_draining and not one.is_drain_requested)
    returning = rolling + min(max(leaving - rolling, 0), warm)
    return _Census(serving, starting, serving | starting | back, dead, stuck, returning)


def _next_move(observed: Observed, memory: Memory, census: _Census, now: float) -> Move:
    is_quiet = not (observed.is_rolling or census.starting or memory.draining_since)
    return next_move(
        memory.move,
        observed,
        census.serving,
        is_settled=is_quiet and not _is_settling(memory, now),
        is_stuck=bool(census.stuck),
        now=now,
    )


def _first_to_go(spec: SizingSpec, observed: Observed, memory: Memory, census: _Census) -> list[int]:
    """Order relays for removal: first those without calls yet, then draining ones, then the others."""
    ranks = {n: 2 for n in census.starting if n not in memory.heard}
    ranks |= {n: 1 for n, relay in observed.relays.items() if relay.is_draining}
    return first_to_go(census.usable, spec.lanes, memory.places, observed.nodes, ranks)


def _excess_to_drain(
    observed: Observed, census: _Census, leaving: list[int], keep: frozenset[int], wanted: int
) -> set[int]:
    """Return a few at a time, and none while one that shall stay has not started."""
    if not keep <= census.serving:
        return set()
    moving = sum(1 for n in leaving if n in observed.relays and observed.relays[n].is_draining)
    room = max(1, wanted // 10) - moving
    return set([n for n in leaving if n in census.serving][: max(room, 0)])


def _replicas(
    spec: SizingSpec,
    observed: Observed,
    memory: Memory,
    census: _Census,
    keep: frozenset[int],
    wanted: int,
    now: float,
) -> tuple[int, ...]:
    """Return the replicas per lane: more where relays are missing, fewer when the top of a lane is empty."""
    replicas = list(observed.replicas)
    missing = wanted - len(keep) - census.returning
    if missing > 0:
        room = spec.most - (sum(replicas) - census.written_off)
        site = _site(observed, memory, keep)
        for _ in range(max(min(missing, room), 0)):
            replicas[lane_for_next(replicas, site)] += 1
    elif not _is_settling(memory, now):
        for number in sorted(observed.numbers - keep, reverse=True):
            lane, ordinal = number % spec.lanes, number // spec.lanes
            is_top = ordinal == replicas[lane] - 1
            may_go = number in census.dead or _may_go(spec, observed, memory, number, now)
            if sum(replicas) > wanted and is_top and may_go:
                replicas[lane] -= 1
    return tuple(replicas)


def _site(observed: Observed, memory: Memory, keep: frozenset[int]) -> Site:
    """Return the facts for placing the next relay. A node looks dead when all its relays are silent."""
    silent = {memory.places.get(n, "") for n in memory.silent_since if n in memory.heard - memory.leaving}
    return Site(
        kept=keep,
        places=memory.places,
        nodes=observed.nodes,
        suspects=frozenset(silent) - {relay.node for relay in observed.relays.values()},
        not_again=frozenset(n for n, one in observed.gone.items() if not one.was_draining),
    )


def _may_go(spec: SizingSpec, observed: Observed, memory: Memory, number: int, now: float) -> bool:
    """Return whether ending the relay ends no call, or its time is over."""
    relay = observed.relays.get(number)
    if relay is None:
        # A relay that was heard may only have lost its way to the registry, and still have calls.
        return number not in memory.heard or number in memory.leaving
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
    """Return which relays to drain next for a new template, and whose pods may end now."""
    old = {n: relay for n, relay in observed.relays.items() if relay.is_outdated}
    done = {
        relay.name
        for n, relay in old.items()
        if relay.is_drain_requested and _may_go(spec, observed, memory, n, now)
    }
    restart = {name for name in done | observed.outdated_silent if name not in memory.restarted_at}
    # Without the extra relay before a roll, since there is no room for it, the roll uses the reserve.
    has_surge = census.written_off == 0 and needed + surge <= spec.most
    # Never the room that calls use now: at the maximum and full, a roll waits for fewer calls.
    full = ceil(sum(relay.used_units for relay in observed.relays.values()) / memory.capacity_units)
    floor = max(needed if has_surge else needed - 1, full, 1)
    going = sum(1 for relay in observed.relays.values() if relay.is_draining)
    room = min(len(census.serving) - floor, max(surge, 1) - going - len(census.starting))
    waiting = sorted((n for n, relay in old.items() if not relay.is_draining), reverse=True)
    return set(waiting[: max(room, 0)]), restart
