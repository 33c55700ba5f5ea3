"""plan() against a small model of a cluster: pods start late, relays die, calls fill the lowest first."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.operator.fleet import GoneRelay, Memory, Observed, Plan, RelayState, SizingSpec
from sipgw.operator.plan import LOST_AFTER_S, plan
from sipgw.operator.sizing import relays_needed
from sipgw.operator.spread import NodeState, first_to_go, numbers_of

from .conftest import relay_name

STEP_S = 2.0
CAPACITY = 100


@dataclass
class Relay:
    starts_at: float
    node: str
    calls: int = 0
    is_asked: bool = False
    is_old: bool = False
    is_dead: bool = False


@dataclass
class Fleet:
    """A simulated fleet that the plan acts on; `step` advances `now`. A pod without a node is Pending."""

    spec: SizingSpec
    nodes: dict[str, NodeState] = field(default_factory=dict[str, NodeState])
    start_s: float = 8.0
    now: float = 0.0
    replicas: tuple[int, ...] = ()
    relays: dict[int, Relay] = field(default_factory=dict[int, Relay])
    dead_nodes: set[str] = field(default_factory=set[str])
    """Nodes that are dead, which Kubernetes does not know yet."""
    chooses_badly: bool = False
    """Whether the scheduler picks the node with the most relays instead of the fewest."""

    def observed(self) -> Observed:
        return Observed(
            replicas=self.replicas or (0,) * self.spec.lanes,
            relays={
                n: RelayState(
                    name=relay_name("gw", n, self.spec.lanes),
                    capacity_units=CAPACITY,
                    used_units=relay.calls,
                    calls=relay.calls,
                    is_draining=relay.is_asked,
                    is_drain_requested=relay.is_asked,
                    is_outdated=relay.is_old,
                    node=relay.node,
                )
                for n, relay in self.relays.items()
                if self.beats(relay)
            },
            gone={n: GoneRelay(relay.node) for n, relay in self.relays.items() if self.is_gone(relay)},
            nodes=self.nodes,
            is_rolling=any(relay.is_old for relay in self.relays.values()),
        )

    def beats(self, relay: Relay) -> bool:
        return relay.starts_at <= self.now and not self.is_gone(relay) and self.is_placed(relay)

    def is_gone(self, relay: Relay) -> bool:
        return relay.is_dead or (relay.node in self.dead_nodes and relay.starts_at <= self.now)

    def is_placed(self, relay: Relay) -> bool:
        return bool(relay.node) or not self.nodes

    def obey(self, made: Plan) -> None:
        by_name = {relay_name("gw", n, self.spec.lanes): n for n in self.relays}
        for name in made.drain:
            self.relays[by_name[name]].is_asked = True
        for name in made.undrain:
            self.relays[by_name[name]].is_asked = False
        self.replicas = made.replicas
        wanted = numbers_of(made.replicas)
        for n in [n for n in self.relays if n not in wanted]:
            del self.relays[n]
        restarted = {by_name[name] for name in made.restart} & wanted
        for n in sorted((wanted - self.relays.keys()) | restarted):
            self.relays.pop(n, None)
            self.relays[n] = Relay(self.now + self.start_s, self.schedule(n))

    def schedule(self, number: int) -> str:
        """Choose a node as the scheduler does: without a relay of that lane, and with the fewest relays."""
        lane = number % self.spec.lanes
        taken = {relay.node for n, relay in self.relays.items() if n % self.spec.lanes == lane}
        free = [name for name, node in self.nodes.items() if node.takes_relays and name not in taken]
        crowd = Counter(relay.node for relay in self.relays.values())
        sign = -1 if self.chooses_badly else 1
        return min(free, key=lambda name: (sign * crowd[name], name), default="")

    def offer(self, calls: int) -> int:
        """Fill relays with calls, the lowest first, but none that drains; return how many found no room."""
        for n in sorted(self.relays):
            relay = self.relays[n]
            relay.calls = min(calls, CAPACITY) if self.beats(relay) and not relay.is_asked else 0
            calls -= relay.calls
        return calls

    def step(self, memory: Memory, calls: int) -> tuple[Plan, Memory]:
        self.now += STEP_S
        self.offer(calls)
        made, memory = plan(self.spec, self.observed(), memory, self.now)
        return made, memory

    def play(self, memory: Memory, calls: int, seconds: float) -> Memory:
        for _ in range(int(seconds / STEP_S)):
            made, memory = self.step(memory, calls)
            self.obey(made)
        return memory

    def places(self) -> Counter[str]:
        """Return the number of relays that take calls, by node."""
        return Counter(
            relay.node for relay in self.relays.values() if self.beats(relay) and not relay.is_asked
        )


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
        assert sum(made.replicas) <= spec.most
        if made.drain:
            assert len(serving - set(made.drain)) >= relays_needed(spec, seen, memory)
        kept = numbers_of(made.replicas)
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
        asked_for = sum(fleet.observed().replicas)
        assert sum(made.replicas) >= min(asked_for, made.wanted), "what restarts is not taken away"
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


def cluster(zones: list[int]) -> dict[str, NodeState]:
    """Return a node for each entry, in the zone that it names."""
    return {f"n{i}": NodeState(f"zone-{zone}") for i, zone in enumerate(zones)}


clusters = st.lists(st.integers(0, 2), min_size=2, max_size=5).map(cluster)
small = st.builds(
    lambda lanes, least, more: SizingSpec(
        lanes=lanes, least=least, most=least + more, warm=1, lookahead_s=20.0, scale_in_after_s=10.0
    ),
    st.integers(2, 5),
    st.integers(2, 4),
    st.integers(1, 6),
)
"""Fleets of two lanes and more, so that two nodes have room for the least number of relays."""


@settings(max_examples=20, deadline=None)
@given(small, clusters, st.lists(st.integers(0, 600), max_size=4), st.booleans())
def test_relays_come_to_rest_on_more_nodes_than_one_and_stay_there(
    spec: SizingSpec, nodes: dict[str, NodeState], loads: list[int], chooses_badly: bool
) -> None:
    """Any start leads there, also with a scheduler that fills the fullest node."""
    fleet, memory = Fleet(spec, nodes, chooses_badly=chooses_badly), Memory()
    for calls in loads:
        memory = fleet.play(memory, calls, 60)
    memory = fleet.play(memory, 50, 600)
    assert len(fleet.places()) > 1
    memory = fleet.play(memory, 50, 900)  # a move that the scheduler spoilt is tried again after ten minutes
    before = fleet.places()
    fleet.play(memory, 50, 1200)
    assert fleet.places() == before


@settings(max_examples=20, deadline=None)
@given(small, clusters, st.integers(0, 600), st.data())
def test_a_node_that_dies_takes_no_place_for_long_and_a_new_leader_knows(
    spec: SizingSpec, nodes: dict[str, NodeState], calls: int, data: st.DataObject
) -> None:
    """Kubernetes believes that the node is alive; the leader that knew its relays may have been on it."""
    fleet, memory = Fleet(spec, nodes), Memory()
    memory = fleet.play(memory, calls, 700)
    fleet.dead_nodes = {data.draw(st.sampled_from(sorted(nodes)))}
    memory = data.draw(st.sampled_from([Memory(), memory]))
    left = sum(fleet.places().values())
    # The scheduler may put a replacement onto the dead node, too: then that one is replaced.
    memory = fleet.play(memory, min(calls, left * CAPACITY), 2 * (LOST_AFTER_S + fleet.start_s) + 2 * STEP_S)
    room = spec.lanes * (len(nodes) - 1)
    assert sum(fleet.places().values()) >= min(spec.least, room)


@settings(max_examples=20, deadline=None)
@given(small, st.integers(3, 5), st.integers(0, 400), st.data())
def test_after_each_node_was_drained_and_came_back_the_relays_are_spread(
    spec: SizingSpec, count: int, calls: int, data: st.DataObject
) -> None:
    nodes = cluster([0] * count)
    fleet, memory = Fleet(spec, nodes), Memory()
    calls = min(calls, (spec.most - 1) * CAPACITY)  # if all were full, no relay could be spared to move
    memory = fleet.play(memory, calls, 200)
    kept = data.draw(st.sampled_from(sorted(nodes)))
    for name in nodes:  # at once, so that all relays come back on `kept`
        fleet.nodes = {**fleet.nodes, name: NodeState("zone-0", takes_relays=name == kept)}
    for n in [n for n, relay in fleet.relays.items() if relay.node != kept]:
        del fleet.relays[n]
    fleet.obey(Plan(0, fleet.replicas))
    fleet.nodes = nodes
    fleet.play(memory, calls, 900)
    assert len(fleet.places()) > 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), clusters, st.data())
def test_the_order_to_go_is_whole_takes_tops_alone_and_leaves_the_fullest_node_first(
    replicas: list[int], nodes: dict[str, NodeState], data: st.DataObject
) -> None:
    lanes, usable = len(replicas), numbers_of(replicas)
    places = {n: data.draw(st.sampled_from(sorted(nodes))) for n in sorted(usable)}
    order = first_to_go(usable, lanes, places, nodes, {})
    assert sorted(order) == sorted(usable)
    left = set(usable)
    for chosen in order:
        tops = {max(n for n in left if n % lanes == lane) for lane in {n % lanes for n in left}}
        crowd = Counter(places[n] for n in left)
        assert chosen in tops
        assert crowd[places[chosen]] == max(crowd[places[n]] for n in tops)
        left.remove(chosen)


def test_calls_of_relays_that_are_heard_late_are_no_growth() -> None:
    """A new leader looks while registries come back: half of the leases have lapsed."""
    spec = SizingSpec(lanes=4, least=2, most=64)
    relays = {n: RelayState(relay_name("gw", n, 4), 20, used_units=5, calls=5) for n in range(3)}
    replicas = (1, 1, 1, 0)
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
