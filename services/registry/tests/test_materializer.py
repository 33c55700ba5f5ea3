import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_INVITED, END_CAUSE_LOST, CallSession
from sipgw.calls import CallStore, Created, random_call_id
from sipgw.registry.call_registry import CallRegistry
from sipgw.registry.materializer import Materializer
from sipgw.store import Store, partition_key, partition_of
from sipgw.store.testing import RedisServer

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
async def registry(store: Store) -> AsyncIterator[CallRegistry]:
    """Return a registry whose materializer reads every partition again each 320 ms, not each minute."""
    made = CallRegistry(data_loss_grace_s=1.0)
    running = asyncio.create_task(Materializer(store, made, reread_period_s=0.32).run())
    yield made
    running.cancel()


async def created(store: Store) -> CallSession:
    answer = await CallStore(store).create(CallSession(call_id=random_call_id(), state=CALL_STATE_INVITED))
    assert isinstance(answer, Created)
    return answer.session


async def test_a_record_that_vanished_without_an_entry_is_noticed_by_reading_again(
    registry: CallRegistry, store: Store, eventually: Eventually
) -> None:
    session = await created(store)

    async def live(count: int) -> bool:
        return registry.count().live == count

    await eventually(lambda: live(1))
    partition = partition_of(session.call_id)
    await store.command("DEL", partition_key(partition, "call", session.call_id))
    await eventually(lambda: live(0))
    lost = registry.get(session.call_id)
    assert lost is not None
    assert lost.end_cause == END_CAUSE_LOST


async def test_a_record_written_without_an_entry_is_found_by_reading_again(
    registry: CallRegistry, store: Store, eventually: Eventually
) -> None:
    session = await created(store)
    stream = partition_key(partition_of(session.call_id), "stream")

    async def version(number: int) -> bool:
        held = registry.get(session.call_id)
        return held is not None and held.version == number

    await eventually(lambda: version(1))
    saved = await CallStore(store).save(session)
    await store.command("XTRIM", stream, "MAXLEN", 0)  # the entry is gone before a slow reader saw it
    await eventually(lambda: version(saved.version))


async def test_reading_again_while_calls_are_saved_loses_none(
    registry: CallRegistry, store: Store, eventually: Eventually
) -> None:
    """No call may seem lost because it was made between a reading and its entry."""
    told_lost: list[str] = []

    async def ready() -> bool:
        return registry.is_materialised

    await eventually(ready)
    watch, _ = registry.watch(lambda: None)
    sessions: list[CallSession] = []
    for _ in range(40):
        sessions += await asyncio.gather(*(created(store) for _ in range(10)))

    async def all_live() -> bool:
        told_lost.extend(
            change.summary.call_id for change in watch.take() if change.summary.end_cause == END_CAUSE_LOST
        )
        return registry.count().live == len(sessions)

    await eventually(all_live)
    assert told_lost == []


async def test_an_outage_without_data_loss_costs_no_new_reading_and_misses_nothing(
    registry: CallRegistry, store: Store, redis_server: RedisServer, eventually: Eventually
) -> None:
    await created(store)

    async def live(count: int) -> bool:
        return registry.count().live == count

    async def unreachable() -> bool:
        return not store.is_reachable

    await eventually(lambda: live(1))
    epoch = registry.epoch
    redis_server.freeze()
    await eventually(unreachable)  # beyond the bound: the blocking read has failed
    redis_server.thaw()
    await created(store)
    await eventually(lambda: live(2))
    assert registry.epoch == epoch
