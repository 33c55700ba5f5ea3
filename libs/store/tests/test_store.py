import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sipgw.runtime.patience import patient
from sipgw.store import Script, Store, StoreProtocolError, StoreUnavailable, StoreUrlError
from sipgw.store.testing import RedisServer

ADD = Script("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")


async def eventually(claim: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(patient(timeout_s)):
        while not claim():  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.02)


async def test_a_script_unknown_to_redis_is_sent_once_and_then_called_by_digest(
    store: Store, redis_server: RedisServer
) -> None:
    assert await store.run(ADD, ["n"], [1]) == 1
    redis_server.ask(b"CONFIG RESETSTAT")
    assert await store.run(ADD, ["n"], [1]) == 2
    statistics = redis_server.ask(b"INFO commandstats")
    assert b"cmdstat_evalsha:calls=1," in statistics
    assert b"cmdstat_eval:" not in statistics


async def test_a_script_survives_the_script_flush_of_a_restart(
    store: Store, redis_server: RedisServer
) -> None:
    await store.run(ADD, ["n"], [5])
    redis_server.ask(b"SCRIPT FLUSH")
    assert await store.run(ADD, ["n"], [5]) == 10


async def test_a_script_that_fails_is_our_fault_not_redis_away(store: Store) -> None:
    with pytest.raises(StoreProtocolError):
        await store.run(Script("bad", "return redis.call('INCR', KEYS[1], 'x', 'y')"), ["n"])


async def test_a_frozen_redis_costs_one_second_and_no_more(store: Store, redis_server: RedisServer) -> None:
    redis_server.freeze()
    try:
        before = time.monotonic()
        answers = await asyncio.gather(
            *(store.command("GET", "x") for _ in range(200)), return_exceptions=True
        )
        took = time.monotonic() - before
    finally:
        redis_server.thaw()
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert 0.9 < took < 3.0


async def test_commands_work_again_after_a_freeze(store: Store, redis_server: RedisServer) -> None:
    redis_server.freeze()
    with pytest.raises(StoreUnavailable):
        await store.command("SET", "x", "1")
    redis_server.thaw()
    await store.command("SET", "x", "2")
    assert await store.command("GET", "x") == b"2"


async def test_an_answer_that_came_while_our_own_loop_stalled_is_taken(store: Store) -> None:
    asked = [asyncio.create_task(store.command("GET", "x")) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # now the commands are sent
    time.sleep(1.1)  # noqa: ASYNC251 - the stall
    assert await asyncio.gather(*asked) == [None] * 50


async def test_a_caller_that_gives_up_leaves_the_others_their_own_answers(store: Store) -> None:
    for number in range(20):
        await store.command("SET", f"k{number}", number)
    asked = [asyncio.create_task(store.command("GET", f"k{number}")) for number in range(20)]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    answers = await asyncio.gather(*asked[1::2])
    assert answers == [str(number).encode() for number in range(1, 20, 2)]


async def test_a_stopped_redis_is_unavailable_at_once_and_back_when_started(
    store: Store, redis_server: RedisServer
) -> None:
    redis_server.stop()
    before = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await store.command("GET", "x")
    assert time.monotonic() - before < 0.9
    redis_server.start()
    assert await store.command("GET", "x") is None


async def test_a_store_opens_while_redis_is_away(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    store = await Store.connect(server.url)
    assert not store.is_reachable
    assert store.epoch is None
    with server:
        await eventually(lambda: store.is_reachable)
        assert store.epoch is not None
    await store.aclose()


async def test_an_emptied_redis_gets_a_new_epoch_and_all_processes_agree_on_it(
    store: Store, redis_server: RedisServer
) -> None:
    other = await Store.connect(redis_server.url)
    assert other.epoch == store.epoch
    before = store.epoch
    told: list[str] = []
    store.on_epoch_change(told.append)
    redis_server.flush()
    await eventually(lambda: store.epoch != before and other.epoch == store.epoch)
    assert told == [store.epoch]
    await other.aclose()


async def test_a_restarted_redis_is_another_epoch(store: Store, redis_server: RedisServer) -> None:
    before = store.epoch
    told: list[str] = []
    store.on_epoch_change(told.append)
    redis_server.stop()
    await eventually(lambda: not store.is_reachable)
    redis_server.start()
    await eventually(lambda: bool(told))
    assert store.epoch != before


async def test_an_unsubscribed_callback_is_told_nothing(store: Store, redis_server: RedisServer) -> None:
    told: list[str] = []
    store.on_epoch_change(told.append)()
    before = store.epoch
    redis_server.flush()
    await eventually(lambda: store.epoch != before)
    assert told == []


async def test_estimated_redis_time_is_within_100_ms_of_redis_time(store: Store) -> None:
    async with asyncio.timeout(patient(5)):
        while not await _is_time_known(store):  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.02)


async def _is_time_known(store: Store) -> bool:
    """Return whether Redis's time lies between our readings before and after it, however long it took."""
    before, theirs, after = store.now_ms(), await store.redis_time_ms(), store.now_ms()
    return before - 100 <= theirs <= after + 100


async def test_every_process_gets_the_same_secret(store: Store, redis_server: RedisServer) -> None:
    other = await Store.connect(redis_server.url)
    first, second = await asyncio.gather(store.shared_secret("call-id"), other.shared_secret("call-id"))
    assert await store.shared_secret("call-id") == await other.shared_secret("call-id")
    assert first == second
    assert len(first) == 32
    assert await store.shared_secret("other") != first
    await other.aclose()


async def test_a_secret_outlives_the_data_and_wins_over_one_drawn_meanwhile(
    store: Store, redis_server: RedisServer
) -> None:
    held = await store.shared_secret("call-id")
    redis_server.flush()
    late = await Store.connect(redis_server.url)
    await late.shared_secret("call-id")  # drawn before the holder published again
    secrets = {held}

    async def agreed() -> None:
        while True:
            secrets.add(await late.shared_secret("call-id"))
            if await late.shared_secret("call-id") == held:
                return
            await asyncio.sleep(0.05)

    await asyncio.wait_for(agreed(), patient(10))
    assert await store.shared_secret("call-id") == held
    await late.aclose()


async def test_a_known_secret_needs_no_redis(store: Store, redis_server: RedisServer) -> None:
    held = await store.shared_secret("call-id")
    redis_server.stop()
    assert await store.shared_secret("call-id") == held
    with pytest.raises(StoreUnavailable):
        await store.shared_secret("never-asked")


@pytest.mark.parametrize(
    "url",
    ["", "http://host", "localhost:6379", "redis://host:port", "redis+sentinel://host:1", "redis+cluster://"],
)
async def test_a_url_that_names_no_redis_is_refused(url: str) -> None:
    with pytest.raises(StoreUrlError):
        await Store.connect(url)


async def test_a_refused_url_does_not_tell_its_password() -> None:
    with pytest.raises(StoreUrlError) as refused:
        await Store.connect("http://user:hush@host")
    assert "hush" not in str(refused.value)
