"""Relays that come, drain, fall silent and are forgotten."""

import time

import pytest

from registry_kit.relays import beat, join, lapse, placed_on, relay
from sipgw.calls import random_call_id
from sipgw.registry.placement import Beat, NotPlaced, Placed, Placements, lost_relays, units_taken
from sipgw.registry.placement_scripts import KNOWN_MS
from sipgw.store import Store
from sipgw.store.testing import RedisServer


async def test_a_registered_relay_that_never_beat_gets_nothing(placements: Placements) -> None:
    await placements.register(relay(0))
    assert await placed_on(placements, random_call_id()) == "no relay"


async def test_relays_that_register_at_once_are_all_known(placements: Placements) -> None:
    fleet = [relay(ordinal) for ordinal in range(3)]
    for one in fleet:
        await placements.register(one)
    assert [await placements.beat(one, beat()) for one in fleet] == [False] * 3
    assert len(await placements.relays()) == 3


async def test_a_relay_that_is_gone_for_ten_minutes_is_forgotten_by_the_next_registration(
    placements: Placements, store: Store
) -> None:
    gone, silent = relay(0), relay(1)
    await join(placements, gone, silent)
    for one, ago_ms in [(gone, KNOWN_MS + 1_000), (silent, KNOWN_MS - 60_000)]:
        key = f"{one.relay.name}/{one.relay.incarnation}"
        await store.command("ZADD", "sipgw:{relays}:known", time.time_ns() // 1_000_000 - ago_ms, key)
    await placements.register(relay(2))
    assert [one.registration.ordinal for one in await placements.relays()] == [1, 2]


async def test_a_relay_is_lost_when_it_went_silent_unasked_and_nobody_has_its_name(
    placements: Placements, store: Store
) -> None:
    died, drained, restarted = relay(0), relay(1), relay(2)
    await join(placements, died, drained, restarted)
    await placements.beat(drained, beat(draining=True))
    for one in (died, drained, restarted):
        await lapse(store, one)
    await join(placements, relay(2, incarnation="next"), relay(3))
    assert [one.registration.ordinal for one in lost_relays(await placements.relays())] == [0]
    await store.command("ZADD", "sipgw:{relays}:known", 1, "relay-0-0/i0-0")
    assert lost_relays(await placements.relays()) == [], "forgotten, whether somebody registers or not"


async def test_a_relay_whose_lease_lapsed_gets_nothing_until_it_beats_again(
    placements: Placements, store: Store
) -> None:
    await join(placements, relay(0), relay(1))
    await lapse(store, relay(0))
    assert await placed_on(placements, random_call_id()) == "relay-0-1"
    await placements.beat(relay(0), beat())
    assert await placed_on(placements, random_call_id()) == "relay-0-0"


async def test_a_beat_makes_a_lease_of_3_s(placements: Placements, store: Store) -> None:
    await join(placements, relay(0))
    ends = int(await store.command("HGET", "sipgw:{relays}:relay:relay-0-0/i0-0", "lease"))
    assert 1_000 < ends - store.now_ms() <= 3_100


async def test_an_earlier_incarnation_of_the_name_gets_nothing_at_once(placements: Placements) -> None:
    await join(placements, relay(0, incarnation="dead"), relay(1))
    await join(placements, relay(0, incarnation="fresh"))
    outcome = await placements.reserve(random_call_id(), 1)
    assert isinstance(outcome, Placed)
    assert outcome.registration.relay.incarnation == "fresh"
    health = {r.registration.relay.incarnation: r.healthy for r in await placements.relays()}
    assert health == {"dead": False, "fresh": True, "i0-1": True}


async def test_a_name_that_begins_like_another_is_another(placements: Placements) -> None:
    await join(placements, relay(1, incarnation="one"))
    await join(placements, relay(10, incarnation="ten"))
    assert await placed_on(placements, random_call_id()) == "relay-0-1"
    await placements.drain("relay-0-1", is_draining=True)
    assert await placed_on(placements, random_call_id()) == "relay-0-10"


async def test_a_draining_relay_gets_nothing_and_is_told_to_drain(placements: Placements) -> None:
    await join(placements, relay(0))
    assert await placements.drain("relay-0-0", is_draining=True)
    assert await placements.beat(relay(0), beat()) is True
    assert await placements.reserve(random_call_id(), 1) == NotPlaced("all draining", 5)
    assert await placements.drain("relay-0-0", is_draining=False)
    assert await placements.beat(relay(0), beat()) is False
    assert await placed_on(placements, random_call_id()) == "relay-0-0"


async def test_a_relay_that_drains_by_itself_gets_nothing(placements: Placements) -> None:
    await join(placements, relay(0), relay(1))
    await placements.beat(relay(0), beat(draining=True))
    assert await placed_on(placements, random_call_id()) == "relay-0-1"


async def test_a_call_held_by_a_relay_that_drains_goes_elsewhere_when_placed_again(
    placements: Placements,
) -> None:
    await join(placements, relay(0), relay(1))
    call_id = random_call_id()
    await placed_on(placements, call_id)
    await placements.drain("relay-0-0", is_draining=True)
    assert await placed_on(placements, call_id) == "relay-0-1"


@pytest.mark.parametrize("word", ["full", "late"])
async def test_a_full_or_late_relay_gets_nothing_keeps_what_it_has_and_is_no_draining_one(
    placements: Placements, word: str
) -> None:
    await join(placements, relay(0), relay(1))
    held = random_call_id()
    assert await placed_on(placements, held) == "relay-0-0"
    await placements.beat(relay(0), beat(full=word == "full", late=word == "late"))
    assert await placed_on(placements, random_call_id()) == "relay-0-1"
    assert await placed_on(placements, held) == "relay-0-0"
    first, second = await placements.relays()
    assert (first.full, first.late, first.draining) == (word == "full", word == "late", False)
    assert (second.full, second.late) == (False, False)
    assert (units_taken(first), units_taken(second)) == (first.used_units, 100)
    await placements.beat(relay(0), beat())
    assert await placed_on(placements, random_call_id()) == "relay-0-0"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (beat(full=True), beat(full=True), "all full"),
        (beat(full=True), beat(draining=True), "all full"),
        (beat(full=True, draining=True), beat(draining=True), "all draining"),
        (beat(full=True), beat(ports=0), "no room"),
        (beat(late=True), beat(late=True), "all late"),
        (beat(late=True), beat(draining=True), "all late"),
        (beat(late=True, full=True), beat(full=True), "all full"),
        (beat(late=True), beat(full=True), "all full or late"),
        (beat(late=True), beat(ports=0), "no room"),
    ],
)
async def test_a_refusal_tells_full_late_and_draining_apart(
    placements: Placements, first: Beat, second: Beat, reason: str
) -> None:
    await join(placements, relay(0), relay(1))
    await placements.beat(relay(0), first)
    await placements.beat(relay(1), second)
    assert await placed_on(placements, random_call_id()) == reason


async def test_draining_a_name_that_nobody_has_is_told(placements: Placements) -> None:
    assert not await placements.drain("relay-9", is_draining=True)


async def test_after_data_loss_a_relay_must_register_again(
    placements: Placements, redis_server: RedisServer
) -> None:
    await join(placements, relay(0))
    redis_server.flush()
    assert await placements.beat(relay(0), beat()) is None
    await join(placements, relay(0))
    assert await placed_on(placements, random_call_id()) == "relay-0-0"


async def test_listed_relays_tell_what_is_used_and_held(placements: Placements) -> None:
    await join(placements, relay(1), relay(0))
    await placements.beat(relay(0), beat([random_call_id()], used=10, ports=50))
    await placed_on(placements, random_call_id(), 5)
    first, second = await placements.relays()
    assert (first.registration, first.used_units, first.calls, first.ports_free) == (relay(0), 15, 2, 49)
    assert (second.registration, second.used_units, second.healthy) == (relay(1), 0, True)
