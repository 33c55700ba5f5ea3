import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.registry.config_store import ConfigStore
from sipgw.registry.errors import ConfigVersionConflict
from sipgw.runtime.patience import patient
from sipgw.store import Store
from sipgw.store.testing import RedisServer

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


def config(name: str) -> GatewayConfig:
    made = GatewayConfig()
    made.gateway.name = name
    return made


async def put(replica: Any, name: str, expected_version: int) -> pb.PutConfigResponse:
    return await replica.configs.PutConfig(
        pb.PutConfigRequest(config=config(name), expected_version=expected_version)
    )


async def name_at(replica: Any) -> str:
    return (await replica.configs.GetConfig(pb.GetConfigRequest())).config.gateway.name


async def refused(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code()


async def test_before_the_first_put_there_is_no_config(replica: Any) -> None:
    assert await refused(replica.configs.GetConfig(pb.GetConfigRequest())) is grpc.StatusCode.NOT_FOUND


async def test_versions_rise_within_one_epoch(replica: Any) -> None:
    first, second = await put(replica, "a", 0), await put(replica, "b", 1)
    assert (first.version, second.version) == (1, 2)
    assert first.epoch == second.epoch
    assert await name_at(replica) == "b"


@pytest.mark.parametrize("expected", [0, 2])
async def test_a_put_that_expects_another_version_fails(replica: Any, expected: int) -> None:
    await put(replica, "a", 0)
    assert await refused(put(replica, "b", expected)) is grpc.StatusCode.FAILED_PRECONDITION
    assert await name_at(replica) == "a"


async def test_of_many_that_put_at_once_one_wins(store: Store, redis_server: RedisServer) -> None:
    stores = [store, await Store.connect(redis_server.url)]
    replicas = [ConfigStore(each) for each in stores]
    outcomes = await asyncio.gather(
        *(replicas[n % 2].put(config(f"c{n}"), 0) for n in range(20)), return_exceptions=True
    )
    winners = [outcome for outcome in outcomes if isinstance(outcome, GatewayConfig)]
    assert len(winners) == 1
    assert sum(isinstance(outcome, ConfigVersionConflict) for outcome in outcomes) == 19
    for replica in replicas:
        await replica.refresh()
        assert replica.config == winners[0]
    await stores[1].aclose()


async def test_a_watch_begins_with_the_config_in_force_and_tells_a_change_within_a_second(
    start_replica: Any,
) -> None:
    first, second = await start_replica(), await start_replica()
    await put(first, "a", 0)
    watch = second.configs.WatchConfig(pb.WatchConfigRequest())
    async with asyncio.timeout(patient(10)):
        assert (await watch.read()).config.gateway.name == "a"
    took: list[float] = []
    for version in (1, 2, 3):
        await put(first, f"c{version}", version)
        begun = time.monotonic()
        async with asyncio.timeout(patient(10)):
            assert (await watch.read()).config.gateway.name == f"c{version}"
        took.append(time.monotonic() - begun)
    assert min(took) < 1.0  # of three, since others use this machine too
    watch.cancel()


async def test_a_watch_that_was_there_before_any_config_gets_the_first(replica: Any) -> None:
    watch = replica.configs.WatchConfig(pb.WatchConfigRequest())
    await watch.wait_for_connection()
    await put(replica, "a", 0)
    async with asyncio.timeout(patient(10)):
        response = await watch.read()
    assert (response.config.gateway.name, response.config.version) == ("a", 1)
    watch.cancel()


async def test_a_registry_puts_the_config_back_that_redis_lost(
    replica: Any, redis_server: RedisServer, eventually: Eventually, start_replica: Any
) -> None:
    put_before = await put(replica, "a", 0)
    redis_server.flush()

    async def is_back() -> bool:
        return b"sipgw:config" in redis_server.ask(b"KEYS sipgw:config")

    await eventually(is_back)
    fresh = await start_replica()
    held = (await fresh.configs.GetConfig(pb.GetConfigRequest())).config
    assert (held.gateway.name, held.epoch, held.version) == ("a", put_before.epoch, 1)
    assert (await put(fresh, "b", 1)).version == 2


async def test_the_newest_of_what_registries_hold_is_put_back(
    store: Store, redis_server: RedisServer
) -> None:
    behind, ahead = ConfigStore(store), ConfigStore(store)
    await behind.put(config("a"), 0)
    await ahead.refresh()
    await ahead.put(config("b"), 1)
    redis_server.flush()
    await behind.refresh()
    await ahead.refresh()
    await behind.refresh()
    assert behind.config == ahead.config
    assert ahead.config is not None
    assert ahead.config.gateway.name == "b"


async def test_a_config_put_after_a_loss_is_newer_than_the_one_that_was_lost(
    store: Store, redis_server: RedisServer
) -> None:
    held, fresh = ConfigStore(store), ConfigStore(store)
    await held.put(config("lost"), 0)
    redis_server.flush()
    await asyncio.sleep(0.002)  # epochs begin with the millisecond
    await fresh.put(config("new"), 0)
    await held.refresh()
    assert held.config is not None
    assert (held.config.gateway.name, held.config.version) == ("new", 1)


async def test_the_config_is_served_while_redis_is_away(replica: Any, redis_server: RedisServer) -> None:
    await put(replica, "a", 0)
    redis_server.stop()
    assert await name_at(replica) == "a"
    watch = replica.configs.WatchConfig(pb.WatchConfigRequest())
    assert (await watch.read()).config.gateway.name == "a"
    watch.cancel()
    assert await refused(put(replica, "b", 1)) is grpc.StatusCode.UNAVAILABLE
