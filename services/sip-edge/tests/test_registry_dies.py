"""A registry process dies or freezes while new calls arrive (real registries and Redis, a stand-in relay)."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import FAST, TestEdge, eventually
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from edge_kit.processes import Process
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.registry.v1 import registry_pb2 as registry_api
from sipgw.control import Beat, RegistryClient, RelayHeartbeat
from sipgw.runtime.patience import patient
from sipgw.store.testing import RedisServer

EVERY_S = 0.1
StartEdge = Callable[..., Awaitable[TestEdge]]
StartRegistry = Callable[..., Awaitable[Process]]
pytestmark = pytest.mark.timeout(90)


@pytest.fixture
async def start_registry(redis: RedisServer) -> AsyncIterator[StartRegistry]:
    started: list[Process] = []

    async def start(listen: str = "127.0.0.1:0") -> Process:
        process = await Process.start("sipgw.registry", "--listen", listen, "--redis", redis.url)
        started.append(process)
        await process.ready()
        return process

    yield start
    for process in started:
        await process.end(signal.SIGKILL)


async def beat(relay: FakeRelay, target: str) -> asyncio.Task[None]:
    """Send heartbeats of the relay from now on; it is registered when this returns."""
    registration = registry_api.RelayRegistration(
        relay=calls.ProcessIdentity(name=relay.name, incarnation=relay.incarnation),
        control_address=relay.control_address,
        advertised_address=relay.address,
        capacity_units=10_000,
        codecs=[config.AUDIO_CODEC_PCMU, config.AUDIO_CODEC_PCMA],
    )
    heartbeat = RelayHeartbeat(
        target,
        registration,
        lambda: Beat(call_ids=list(relay.sessions), used_units=0, draining=False, ports_free=1000),
        lambda _drain: None,
    )
    beating = asyncio.create_task(heartbeat.run(), name="heartbeat")

    async def is_known() -> bool:
        return heartbeat.is_registered

    await eventually(is_known)
    return beating


class Callers:
    """A new call every tenth of a second; `finals` has the time of each and its final status.

    On a busy machine calls come less often: edge, relay and callers are one process, which has to keep up.
    """

    def __init__(self, caller: Caller, edge: TestEdge) -> None:
        self.finals: list[tuple[float, int]] = []
        self._every_s = patient(EVERY_S)
        self._caller = caller
        self._edge = edge
        self._calling: list[asyncio.Task[None]] = []

    async def call_for(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            self._calling.append(asyncio.create_task(self._call(), name="call"))
            await asyncio.sleep(self._every_s)

    async def all_answered(self) -> None:
        await asyncio.gather(*self._calling)

    async def _call(self) -> None:
        made_at = asyncio.get_running_loop().time()
        invite = self._caller.invite()
        self._caller.send(invite, self._edge.sip)
        response = await self._caller.response(invite, within_s=30.0)
        if response.status == 200:
            CallerDialog(self._caller, invite, response).ack(self._edge.sip)
        self.finals.append((made_at, response.status))


async def configure(target: str, gateway: config.GatewayConfig) -> None:
    client = RegistryClient(target)
    await client.put_config(gateway, 0)
    await client.aclose()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_with_two_registries_no_call_fails_when_one_dies_or_stands_still(
    redis: RedisServer,
    start_registry: StartRegistry,
    gateway: config.GatewayConfig,
    relay: FakeRelay,
    caller: Caller,
    how: signal.Signals,
) -> None:
    first, second = await asyncio.gather(start_registry(), start_registry())
    target = f"{first.fields['listen']},{second.fields['listen']}"
    await configure(target, gateway)
    beating = await beat(relay, target)
    edge = await TestEdge.start("edge-0", redis.url, target)
    try:
        callers = Callers(caller, edge)
        await callers.call_for(0.5)
        first.send(how)
        await callers.call_for(3.0)
        await callers.all_answered()
        assert {status for _, status in callers.finals} == {200}
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await edge.close()


async def test_calls_wait_for_the_only_registry(
    start_edge: StartEdge, registry: FakeRegistry, caller: Caller
) -> None:
    """It is killed, and back at its address after 1.5 s."""
    edge = await start_edge()
    callers = Callers(caller, edge)
    await callers.call_for(0.3)
    port = int(registry.address.rpartition(":")[2])
    await registry.stop()
    await callers.call_for(1.5)
    await registry.start(port)
    await callers.call_for(0.5)
    await callers.all_answered()
    assert {status for _, status in callers.finals} == {200}


async def test_a_registry_that_comes_back_late_is_found_within_a_second(
    start_edge: StartEdge, registry: FakeRegistry, caller: Caller
) -> None:
    """While it stays away callers hear so at once; no call waits for a back-off when it returns."""
    edge = await start_edge("edge-0", times=replace(FAST, registry_away_s=0.3))
    callers = Callers(caller, edge)
    await callers.call_for(0.2)
    port = int(registry.address.rpartition(":")[2])
    with capture_logs() as lines:
        await registry.stop()
        await callers.call_for(3.0)
        await registry.start(port)
        await callers.call_for(patient(1.0))
        refused = refused_without_registry(lines)
        assert refused, "nobody answered them"
        await callers.call_for(0.5)
        await callers.all_answered()
        assert refused_without_registry(lines) == refused


def refused_without_registry(lines: list[EventDict]) -> int:
    """Count the calls that were refused for want of a registry, by the log: a 503 has other causes too."""
    return sum(line["event"] == "call_ending" and line["reason"] == "No Registry" for line in lines)
