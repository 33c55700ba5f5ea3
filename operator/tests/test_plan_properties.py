"""plan() against a small model of a cluster: pods start late, relays die, calls fill the lowest first."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.operator.plan import (
    Memory,
    Observed,
    Plan,
    RelayState,
    SizingSpec,
    plan,
    relays_needed,
    replicas_of,
    total_of,
)
from sipgw.operator.resources.stateful_sets import relay_name

STEP_S = 2.0
CAPACITY = 100


@dataclass
class Relay:
    starts_at: float
    calls: int = 0
    is_asked: bool = False
    is_old: bool = False
    is_dead: bool = False


@dataclass
class Fleet:
    """What the plan is about; `now` moves by `step`."""

    spec: SizingSpec
    start_s: float = 8.0
    now: float = 0.0
    relays: dict[int, Relay] = field(default_factory=dict[int, Relay])

    def observed(self) -> Observed:
        return Observed(
            replicas=replicas_of(len(self.relays), self.spec.lanes),
            relays={
                n: RelayState(
                    name=relay_name("gw", n, self.spec.lanes),
                    capacity_units=CAPACITY,
                    used_units=relay.calls,
                    calls=relay.calls,
                    is_draining=relay.is_asked,
                    is_drain_requested=relay.is_asked,
                    is_outdated=relay.is_old,
                )
                for n, relay in self.relays.items()
                if relay.starts_at <= self.now and not relay.is_dead
            },
            is_rolling=any(relay.is_old for relay in self.relays.values()),
        )

    def obey(self, made: Plan) -> None:
        by_name = {relay_name("gw", n, self.spec.lanes): n for n in self.relays}
        for name in made.drain:
            self.relays[by_name[name]].is_asked = True
        for name in made.undrain:
            self.relays[by_name[name]].is_asked = False
        for name in made.restart:
            self.relays[by_name[name]] = Relay(self.now + self.start_s)
        total = total_of(made.replicas)
        assert made.replicas == replicas_of(total, self.spec.lanes)
        for n in range(total):
            self.relays.setdefault(n, Relay(self.now + self.start_s))
        for n in [n for n in self.relays if n >= total]:
            del self.relays[n]

    def offer(self, calls: int) -> int:
        """Calls, the lowest relay first; those of draining ones have moved. Gives how many found no room."""
        for n in sorted(self.relays):
            relay = self.relays[n]
            is_up = relay.starts_at <= self.now and not relay.is_dead and not relay.is_asked
            relay.calls = min(calls, CAPACITY) if is_up else 0
            calls -= relay.calls
        return calls

    def step(self, memory: Memory, calls: int) -> tuple[Plan, Memory]:
        self.now += STEP_S
        self.offer(calls)
        made, memory = plan(self.spec, self.observed(), memory, self.now)
        return made, memory


specs = st.builds(
    lambda lanes, least, more, warm, wait: SizingSpec(
        lanes=lanes,
        least=least,
        most=least + more,
        warm=warm,
        lookahead_s=20.0,
        scale_in_after_s=wait,
        drain_deadline_s=10.0,
    ),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 12),
    st.integers(0, 2),
    st.sampled_from([0.0, 10.0, 60.0]),
)
loads = st.lists(st.integers(0, 1200), min_size=1, max_size=25)


@settings(max_examples=150, deadline=None)
@given(specs, loads)
def test_never_more_than_the_most_and_never_a_drain_of_what_is_needed(
    spec: SizingSpec, loads: list[int]
) -> None:
    fleet, memory = Fleet(spec), Memory()
    for calls in loads:
        made, memory = fleet.step(memory, calls)
        seen = fleet.observed()
        serving = {relay.name for relay in seen.relays.values() if not relay.is_draining}
        assert spec.least <= made.wanted <= spec.most
        assert total_of(made.replicas) <= spec.most
        if made.drain:
            assert len(serving - set(made.drain)) >= relays_needed(spec, seen, memory)
        kept = set(range(total_of(made.replicas)))
        busy = {n for n, relay in fleet.relays.items() if relay.calls and not relay.is_asked}
        assert busy <= kept, "a relay with calls goes only after a drain"
        fleet.obey(made)


@settings(max_examples=100, deadline=None)
@given(specs, loads, st.integers(0, 1000), st.sets(st.integers(0, 12), max_size=3))
def test_it_comes_to_rest_with_as_many_serving_as_wanted_whatever_was_before_and_whatever_died(
    spec: SizingSpec, loads: list[int], calls: int, dead: set[int]
) -> None:
    fleet, memory = Fleet(spec), Memory()
    for load in loads:
        made, memory = fleet.step(memory, load)
        fleet.obey(made)
    for n in dead:
        if n in fleet.relays:
            fleet.relays[n].is_dead = True
    acts: list[Plan] = []
    for _ in range(250):
        made, memory = fleet.step(memory, calls)
        fleet.obey(made)
        acts.append(made)
    last = acts[-1]
    assert acts[-10:] == [last] * 10
    assert (last.drain, last.undrain, last.restart) == ((), (), ())
    serving = [relay for relay in fleet.observed().relays.values() if not relay.is_draining]
    assert len(serving) == last.wanted


@settings(max_examples=60, deadline=None)
@given(specs, st.integers(0, 600))
def test_a_roll_reaches_every_relay_and_leaves_room_for_the_calls_throughout(
    spec: SizingSpec, calls: int
) -> None:
    fleet, memory = Fleet(spec), Memory()
    for _ in range(120):
        made, memory = fleet.step(memory, calls)
        fleet.obey(made)
    had_room = fleet.offer(calls) == 0
    before = len(fleet.relays)
    for relay in fleet.relays.values():
        relay.is_old = True
    for _ in range(60 * max(before, 1)):
        made, memory = fleet.step(memory, calls)
        asked_for = total_of(fleet.observed().replicas)
        assert total_of(made.replicas) >= min(asked_for, made.wanted), "what restarts is not taken away"
        fleet.obey(made)
        assert not had_room or fleet.offer(calls) == 0
    can_spare = spec.most > max(-(-calls // CAPACITY), 1)
    assert not can_spare or not any(relay.is_old for relay in fleet.relays.values())


@given(specs, st.integers(0, 5000), st.integers(0, 5000), st.floats(0, 200), st.floats(0, 200))
def test_more_calls_never_want_fewer_relays(
    spec: SizingSpec, some: int, more: int, slow: float, faster: float
) -> None:
    def needed(used: int, rate: float) -> int:
        relay = RelayState("r", CAPACITY, used_units=used, calls=used)
        return relays_needed(
            spec, Observed((1,), {0: relay}, setups_per_s=rate), Memory(capacity_units=CAPACITY)
        )

    assert needed(some, slow) <= needed(some + more, slow)
    assert needed(some, slow) <= needed(some, slow + faster)


def test_numbers_and_replicas_are_two_words_for_one_thing() -> None:
    for lanes in range(1, 9):
        for total in range(40):
            assert total_of(replicas_of(total, lanes)) == total
            assert sum(replicas_of(total, lanes)) == total


def test_calls_of_relays_that_are_heard_late_are_no_growth() -> None:
    """A new leader looks while registries come back: half of the leases have lapsed."""
    spec = SizingSpec(lanes=4, least=2, most=64)
    relays = {n: RelayState(relay_name("gw", n, 4), 20, used_units=5, calls=5) for n in range(3)}
    replicas = replicas_of(3, 4)
    _, memory = plan(spec, Observed(replicas, {0: relays[0]}), Memory(), 0.0)
    for now in (2.0, 4.0, 6.0, 8.0):
        made, memory = plan(spec, Observed(replicas, relays), memory, now)
        assert made.wanted == 3, "15 calls at 70 % of 20 are 2, and a warm one"


def test_calls_on_a_relay_that_was_just_asked_for_are_growth() -> None:
    spec = SizingSpec(lanes=1, least=1, most=64, warm=0)
    first = RelayState("gw-relay-0-0", 100, used_units=60, calls=60)
    _, memory = plan(spec, Observed((1,), {0: first}), Memory(), 0.0)
    _, memory = plan(spec, Observed((2,), {0: first}), memory, 2.0)
    second = RelayState("gw-relay-0-1", 100, used_units=40, calls=40)
    made, _ = plan(spec, Observed((2,), {0: first, 1: second}), memory, 10.0)
    assert made.wanted > 2
