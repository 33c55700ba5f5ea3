import asyncio

import pytest

from sipgw.calls import EDGE_LEASE_MS, EdgeLease, EdgeLeases
from sipgw.runtime.patience import patient
from sipgw.runtime.settings import Identity
from sipgw.store import Store, StoreUnavailable
from sipgw.store.testing import RedisServer

EDGE_A = EdgeLease(Identity("edge-0", "aaaa"), "10.0.0.1:1")
EDGE_B = EdgeLease(Identity("edge-1", "bbbb"), "10.0.0.2:1")
LEASE_S = EDGE_LEASE_MS / 1000


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def beat(leases: EdgeLeases, lease: EdgeLease) -> list[EdgeLease]:
    return await leases.beat(lease.identity, lease.grpc_address)


async def lapse(store: Store, lease: EdgeLease) -> None:
    """Let the lease expire, as three seconds without a heartbeat would."""
    await store.command("ZADD", "sipgw:{edges}:leases", 1, str(lease.identity))


async def test_a_beat_makes_an_edge_live_with_its_address(store: Store) -> None:
    assert await beat(EdgeLeases(store), EDGE_A) == [EDGE_A]
    await beat(EdgeLeases(store), EDGE_B)
    live = await EdgeLeases(store).live()
    assert sorted(live, key=str) == [EDGE_A, EDGE_B]


async def test_a_lease_lapses_and_a_clean_end_drops_it_at_once(store: Store) -> None:
    leases = EdgeLeases(store)
    await beat(leases, EDGE_A)
    await beat(leases, EDGE_B)
    await lapse(store, EDGE_A)
    assert await leases.live() == [EDGE_B]
    await leases.give_up(EDGE_B.identity)
    assert await leases.live() == []


async def test_an_edge_restarted_under_its_name_is_another(store: Store) -> None:
    leases = EdgeLeases(store)
    await beat(leases, EDGE_A)
    again = EdgeLease(Identity("edge-0", "cccc"), "10.0.0.1:2")
    await beat(leases, again)
    await lapse(store, EDGE_A)
    assert await leases.live() == [again]


async def test_only_who_reached_redis_for_a_lease_period_may_judge(store: Store) -> None:
    clock = Hands()
    leases = EdgeLeases(store, monotonic=clock)
    assert not leases.may_judge()
    for step in range(4):
        await beat(leases, EDGE_A)
        assert leases.may_judge() == (step >= 3)
        clock.now += 1.0


async def test_a_gap_takes_the_right_to_judge_until_a_lease_period_has_passed_again(store: Store) -> None:
    clock = Hands()
    leases = EdgeLeases(store, monotonic=clock)
    await leases.live()
    clock.now += 1.5
    await leases.live()
    clock.now += 1.5
    await leases.live()
    assert leases.may_judge()
    clock.now += LEASE_S  # the process was frozen for one lease
    assert not leases.may_judge()
    await leases.live()
    assert not leases.may_judge()


async def test_who_can_not_reach_redis_may_not_judge(store: Store, redis_server: RedisServer) -> None:
    clock = Hands()
    leases = EdgeLeases(store, monotonic=clock)
    for _ in range(4):
        await leases.live()
        clock.now += 1.0
    redis_server.stop()
    with pytest.raises(StoreUnavailable):
        await leases.live()
    clock.now += 2.5
    assert not leases.may_judge()


async def test_leases_lost_with_the_data_prove_nothing(store: Store, redis_server: RedisServer) -> None:
    clock = Hands()
    judge = EdgeLeases(store, monotonic=clock)
    await beat(EdgeLeases(store), EDGE_B)
    for _ in range(4):
        await beat(judge, EDGE_A)
        clock.now += 1.0
    assert judge.may_judge()
    redis_server.flush()
    assert EDGE_B not in await beat(judge, EDGE_A)
    assert not judge.may_judge()


async def test_the_run_loop_tells_of_a_lapse_once_and_only_when_it_may_judge(store: Store) -> None:
    clock = Hands()
    judge = EdgeLeases(store, monotonic=clock)
    await beat(EdgeLeases(store), EDGE_B)
    told: list[EdgeLease] = []
    was_told = asyncio.Event()

    async def note(lease: EdgeLease) -> None:
        assert judge.may_judge()
        told.append(lease)
        was_told.set()

    changes: list[list[EdgeLease]] = []
    running = asyncio.create_task(
        judge.run(EDGE_A.identity, EDGE_A.grpc_address, on_lapse=note, on_change=changes.append)
    )
    async with asyncio.timeout(patient(10)):
        while not changes:  # noqa: ASYNC110 - the loop under test has no event
            await asyncio.sleep(0.01)
        await lapse(store, EDGE_B)
        while not was_told.is_set():
            clock.now += 0.05
            await asyncio.sleep(0.02)
    running.cancel()
    assert told == [EDGE_B]
    assert EDGE_B in changes[0]
