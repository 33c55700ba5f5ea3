"""A real Redis, registries on it as `sipgw-registry` runs them, and clients that speak gRPC to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from sipgw.api.registry.v1 import registry_pb2_grpc as services
from sipgw.registry.app import RegistryApp, RegistrySettings
from sipgw.registry.placement import Placements
from sipgw.runtime.patience import patient
from sipgw.runtime.settings import HostPort
from sipgw.store import Store
from sipgw.store.testing import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    opened = await Store.connect(redis_server.url)
    yield opened
    await opened.aclose()


@pytest.fixture
def placements(store: Store) -> Placements:
    return Placements(store)


@dataclass(frozen=True)
class Replica:
    """One running registry and stubs of its services."""

    app: RegistryApp
    address: str
    calls: Any
    placement: Any
    relays: Any
    configs: Any


StartReplica = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def start_replica(redis_server: RedisServer) -> AsyncIterator[StartReplica]:
    async with AsyncExitStack() as stack:

        async def start(grace_s: float = 10.0) -> Replica:
            settings = RegistrySettings(HostPort("127.0.0.1", 0), data_loss_grace_s=grace_s)
            app = RegistryApp(settings, await Store.connect(redis_server.url))
            address = (await app.start())["listen"]
            stack.push_async_callback(app.stop)
            await app.materialised(patient(10))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            return Replica(
                app,
                address,
                services.CallRegistryServiceStub(channel),
                services.PlacementServiceStub(channel),
                services.RelayRegistrationServiceStub(channel),
                services.ConfigServiceStub(channel),
            )

        yield start


@pytest.fixture
async def replica(start_replica: StartReplica) -> Replica:
    return await start_replica()


Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def eventually() -> Eventually:
    """Wait, 20 s at most on a quiet machine, until an asynchronous claim holds."""

    async def wait(claim: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(patient(20)):
            while not await claim():  # noqa: ASYNC110 - polls what has no event
                await asyncio.sleep(0.02)

    return wait
