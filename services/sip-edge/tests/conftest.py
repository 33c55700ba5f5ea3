"""Fixtures: a real Redis, and edges over real UDP and gRPC; stand-ins for relay and registry
(`kit/edge_kit`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge, gateway_config
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from edge_kit.standing_calls import established
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.store.testing import RedisServer

StartEdge = Callable[..., Awaitable[TestEdge]]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
async def relay() -> AsyncIterator[FakeRelay]:
    fake = FakeRelay("relay-0")
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def other_relay() -> AsyncIterator[FakeRelay]:
    fake = FakeRelay("relay-1", "192.0.2.11")
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def gateway() -> config.GatewayConfig:
    return gateway_config()


@pytest.fixture
async def registry(gateway: config.GatewayConfig, relay: FakeRelay) -> AsyncIterator[FakeRegistry]:
    fake = FakeRegistry(gateway, [relay])
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def start_edge(redis: RedisServer, registry: FakeRegistry) -> AsyncIterator[StartEdge]:
    started: list[TestEdge] = []

    async def start(name: str = "edge-0", **options: object) -> TestEdge:
        edge = await TestEdge.start(name, redis.url, registry.address, **options)  # type: ignore[arg-type]
        started.append(edge)
        return edge

    yield start
    for edge in started:
        await edge.close()


@pytest.fixture
async def edge(start_edge: StartEdge) -> TestEdge:
    return await start_edge()


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    one = await Caller.open()
    yield one
    one.close()


@pytest.fixture
async def call(
    edge: TestEdge, caller: Caller, registry: FakeRegistry, other_relay: FakeRelay
) -> CallerDialog:
    """Make an established call on `relay`; `other_relay` has room."""
    found = await established(edge, caller)
    registry.relays.append(other_relay)
    return found
