"""A call is placed on a relay with room, and takes units of its capacity."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_kit.relays import beat, free_units, join, lapse, placed_on, relay
from sipgw.calls import random_call_id
from sipgw.registry.placement import NotPlaced, Placed, Placements
from sipgw.store import Store
from sipgw.store.testing import RedisServer


async def test_without_relays_the_answer_is_no_relay(placements: Placements) -> None:
    assert await placements.reserve(random_call_id(), 1) == NotPlaced("no relay", 5)


async def test_relays_of_one_revision_have_one_turn_though_the_first_has_not_beaten_yet(
    placements: Placements,
) -> None:
    old = relay(5, revision="old")
    await join(placements, old)
    first, second = relay(0, revision="new"), relay(1, revision="new")
    await placements.register(first)
    await placements.register(old)
    await placements.register(second)
    for one in (first, second):
        await placements.beat(one, beat())
    assert await placed_on(placements, random_call_id()) == "relay-0-0"


async def test_calls_go_to_the_lowest_ordinal_then_lane_that_has_room(placements: Placements) -> None:
    await join(placements, relay(1, 0, capacity=1), relay(0, 1, capacity=1), relay(0, 0, capacity=1))
    placed = [await placed_on(placements, random_call_id()) for _ in range(4)]
    assert placed == ["relay-0-0", "relay-1-0", "relay-0-1", "no room"]


async def test_the_newest_revision_goes_first_during_a_roll(placements: Placements) -> None:
    await join(placements, relay(0, revision="old"), relay(1, revision="old"))
    await join(placements, relay(1, revision="new", incarnation="again"))
    assert await placed_on(placements, random_call_id()) == "relay-0-1"


async def test_a_rollback_to_a_revision_that_nobody_runs_makes_it_the_newest(
    placements: Placements, store: Store
) -> None:
    first, second = relay(0, revision="a"), relay(1, revision="b")
    await join(placements, first)
    await lapse(store, first)
    await join(placements, second, relay(2, revision="a"))
    assert await placed_on(placements, random_call_id()) == "relay-0-2"


async def test_reserving_again_for_a_call_gives_the_same_relay_and_takes_room_once(
    placements: Placements,
) -> None:
    await join(placements, relay(0), relay(1))
    call_id = random_call_id()
    assert {await placed_on(placements, call_id, 10) for _ in range(3)} == {"relay-0-0"}
    assert await free_units(placements, "relay-0-0") == 90


async def test_an_avoided_relay_lets_go_what_it_held_and_another_takes_the_call(
    placements: Placements,
) -> None:
    await join(placements, relay(0), relay(1))
    call_id = random_call_id()
    await placed_on(placements, call_id, 10)
    assert await placed_on(placements, call_id, 10, ["i0-0"]) == "relay-0-1"
    assert await free_units(placements, "relay-0-0") == 100
    assert await free_units(placements, "relay-0-1") == 90
    assert await placed_on(placements, random_call_id(), 1, ["i0-0", "i0-1"]) == "no room"


async def test_room_counts_cost_units_and_a_smaller_call_still_fits(placements: Placements) -> None:
    await join(placements, relay(0, capacity=15))
    assert await placed_on(placements, random_call_id(), 10) == "relay-0-0"
    assert await placed_on(placements, random_call_id(), 10) == "no room"
    assert await placed_on(placements, random_call_id(), 5) == "relay-0-0"


async def test_a_relay_without_free_ports_has_no_room(placements: Placements) -> None:
    await join(placements, relay(0))
    await placements.beat(relay(0), beat(ports=1))
    assert await placed_on(placements, random_call_id()) == "relay-0-0"
    assert await placed_on(placements, random_call_id()) == "no room"


async def test_release_makes_room_at_once(placements: Placements) -> None:
    await join(placements, relay(0, capacity=1))
    call_id = random_call_id()
    await placed_on(placements, call_id)
    assert await placed_on(placements, random_call_id()) == "no room"
    await placements.release(call_id, "another")
    assert await placed_on(placements, random_call_id()) == "no room"
    await placements.release(call_id, "i0-0")
    assert await placed_on(placements, random_call_id()) == "relay-0-0"


async def test_what_the_relay_reports_takes_the_place_of_the_reservation(placements: Placements) -> None:
    await join(placements, relay(0))
    reported, held = random_call_id(), random_call_id()
    for call_id in (reported, held):
        await placed_on(placements, call_id, 10)
    await placements.beat(relay(0), beat([reported], used=7))
    assert await free_units(placements, "relay-0-0") == 100 - 7 - 10
    await placements.beat(relay(0), beat([], used=0))
    assert await free_units(placements, "relay-0-0") == 90


async def test_a_reservation_that_nobody_confirms_expires(placements: Placements, store: Store) -> None:
    await join(placements, relay(0, capacity=1))
    call_id = random_call_id()
    await placed_on(placements, call_id)
    await store.command("ZADD", "sipgw:{relays}:held:relay-0-0/i0-0", 1, f"{call_id}:1")
    await placements.beat(relay(0), beat())
    assert await placed_on(placements, random_call_id()) == "relay-0-0"


async def test_a_reservation_lives_10_s_and_a_confirmed_one_60_s(
    placements: Placements, store: Store
) -> None:
    await join(placements, relay(0))
    call_id = random_call_id()
    held = ("ZSCORE", "sipgw:{relays}:held:relay-0-0/i0-0", f"{call_id}:1")
    await placed_on(placements, call_id)
    assert 5_000 < int(await store.command(*held)) - store.now_ms() <= 10_100
    assert await placements.confirm(call_id, "i0-0")
    assert 55_000 < int(await store.command(*held)) - store.now_ms() <= 60_100
    assert await free_units(placements, "relay-0-0") == 99


async def test_confirming_after_the_reservation_expired_holds_the_room_again(
    placements: Placements, store: Store
) -> None:
    await join(placements, relay(0))
    assert await placements.confirm(random_call_id(), "i0-0", 10)
    assert await free_units(placements, "relay-0-0") == 90
    reported = random_call_id()
    await placements.beat(relay(0), beat([reported], used=10))
    taken = await free_units(placements, "relay-0-0")
    assert await placements.confirm(reported, "i0-0", 10)
    assert await free_units(placements, "relay-0-0") == taken


async def test_confirming_at_a_relay_that_is_gone_or_another_one_fails(
    placements: Placements, store: Store
) -> None:
    await join(placements, relay(0), relay(1))
    call_id = random_call_id()
    await placed_on(placements, call_id)
    assert not await placements.confirm(call_id, "i0-1")
    assert not await placements.confirm(call_id, "never-seen")
    await lapse(store, relay(0))
    assert not await placements.confirm(call_id, "i0-0")


async def test_many_that_place_at_once_never_exceed_the_capacity(
    placements: Placements, redis_server: RedisServer
) -> None:
    other = await Store.connect(redis_server.url)
    await join(placements, relay(0, capacity=30), relay(1, capacity=25))
    replicas = (placements, Placements(other))
    outcomes = await asyncio.gather(
        *(replicas[n % 2].reserve(random_call_id(), 1 + n % 3) for n in range(200))
    )
    used = {known.registration.ordinal: known.used_units for known in await placements.relays()}
    assert used == {0: 30, 1: 25}
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, NotPlaced)} == {"no room"}
    await other.aclose()


async def test_room_never_drifts_under_reserve_release_confirm_and_report(placements: Placements) -> None:
    """Each worker takes a call through its life; at the end every unit is free again."""
    await join(placements, relay(0, capacity=8), relay(1, capacity=8))
    live: dict[int, set[str]] = {0: set(), 1: set()}

    async def report(ordinal: int) -> None:
        calls = sorted(live[ordinal])
        assert len(calls) <= 8
        await placements.beat(relay(ordinal), beat(calls))

    async def worker(number: int) -> None:
        for step in range(10):
            call_id = random_call_id()
            outcome = await placements.reserve(call_id, 1)
            if isinstance(outcome, NotPlaced):
                await report(step % 2)
                continue
            ordinal = outcome.registration.ordinal
            if (number + step) % 3 == 0:
                await placements.release(call_id, outcome.registration.relay.incarnation)
                continue
            live[ordinal].add(call_id)
            await placements.confirm(call_id, outcome.registration.relay.incarnation)
            await report(ordinal)
            live[ordinal].discard(call_id)
            await report(ordinal)

    await asyncio.gather(*(worker(number) for number in range(12)))
    for ordinal in live:
        await report(ordinal)
    assert [known.used_units for known in await placements.relays()] == [0, 0]


RELAYS = st.lists(
    st.tuples(
        st.integers(0, 5),  # ordinal
        st.integers(0, 3),  # lane
        st.integers(0, 12),  # capacity
        st.booleans(),  # drains
        st.booleans(),  # lease has lapsed
    ),
    max_size=8,
    unique_by=lambda drawn: drawn[:2],
)
COSTS = st.lists(st.integers(1, 6), max_size=12)


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> "Path":
    return tmp_path_factory.mktemp("redis")


@given(relays=RELAYS, costs=COSTS)
@settings(max_examples=60, deadline=None)
def test_placement_is_the_first_in_order_that_is_healthy_and_has_room(
    shared_redis: Path, relays: list[tuple[int, int, int, bool, bool]], costs: list[int]
) -> None:
    async def check() -> None:
        store = await Store.connect(server.url)
        placements = Placements(store)
        for ordinal, lane, capacity, drains, is_gone in relays:
            registration = relay(ordinal, lane, capacity=capacity)
            await placements.register(registration)
            await placements.beat(registration, beat(draining=drains))
            if is_gone:
                await lapse(store, registration)
        room = {
            (ordinal, lane): capacity
            for ordinal, lane, capacity, drains, is_gone in sorted(relays)
            if not drains and not is_gone
        }
        for cost in costs:
            expected = next((place for place, free in room.items() if free >= cost), None)
            outcome = await placements.reserve(random_call_id(), cost)
            if expected is None:
                assert isinstance(outcome, NotPlaced)
            else:
                assert isinstance(outcome, Placed)
                assert (outcome.registration.ordinal, outcome.registration.lane) == expected
                room[expected] -= cost
        await store.aclose()

    with RedisServer(shared_redis) as server:
        asyncio.run(check())
