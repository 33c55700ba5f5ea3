"""RelayHeartbeat against a small registry on a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from sipgw.api.calls.v1.session_pb2 import ProcessIdentity
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1 import registry_pb2_grpc as services
from sipgw.control import Beat, RelayHeartbeat

REGISTRATION = pb.RelayRegistration(
    relay=ProcessIdentity(name="relay-0", incarnation="r1"),
    control_address="10.0.0.1:7000",
    capacity_units=1000,
)


class Registry(services.RelayRegistrationServiceServicer):
    def __init__(self) -> None:
        self.beats: list[pb.HeartbeatRequest] = []
        self.knows_relay = False
        self.drain = False
        self.lease_ms = 30

    async def Heartbeat(self, request_iterator, context):
        async for request in request_iterator:
            self.beats.append(request)
            self.knows_relay |= request.HasField("registration")
            yield pb.HeartbeatResponse(
                not_registered=not self.knows_relay, drain=self.drain, lease_ms=self.lease_ms
            )

    async def ListRelays(self, request, context):
        return pb.ListRelaysResponse()

    async def DrainRelay(self, request, context):
        return pb.DrainRelayResponse()


class Relay:
    def __init__(self) -> None:
        self.calls = ["a", "b"]
        self.drains: list[bool] = []
        self.full = self.late = False

    def snapshot(self) -> Beat:
        drains = bool(self.drains)
        return Beat(self.calls, len(self.calls), drains, ports_free=98, full=self.full, late=self.late)


@pytest.fixture
async def registry() -> Registry:
    return Registry()


@pytest.fixture
async def server(registry, serve):
    add = services.add_RelayRegistrationServiceServicer_to_server
    return await serve(registry, add, "sipgw.api.registry.v1.RelayRegistrationService")


@pytest.fixture
async def relay() -> Relay:
    return Relay()


@pytest.fixture
async def heartbeat(server, relay) -> AsyncIterator[RelayHeartbeat]:
    heartbeat = RelayHeartbeat(server.address, REGISTRATION, relay.snapshot, relay.drains.append)
    async with running(heartbeat):
        yield heartbeat


@pytest.fixture
async def hourly(server, registry, relay) -> AsyncIterator[RelayHeartbeat]:
    """Run a heartbeat that by itself beats once an hour."""
    registry.lease_ms = 0  # 0: the registry gives no interval
    heartbeat = RelayHeartbeat(server.address, REGISTRATION, relay.snapshot, relay.drains.append)
    heartbeat._interval_s = 3600
    async with running(heartbeat):
        yield heartbeat


@asynccontextmanager
async def running(heartbeat: RelayHeartbeat) -> AsyncIterator[None]:
    task = asyncio.ensure_future(heartbeat.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_registers_once_and_beats_with_the_relays_calls(heartbeat, registry, relay, until) -> None:
    await until(lambda: len(registry.beats) >= 3)
    assert heartbeat.is_registered
    first, second = registry.beats[:2]
    assert first.registration == REGISTRATION
    assert not second.HasField("registration")
    assert (list(second.call_ids), second.used_units, second.ports_free) == (["a", "b"], 2, 98)
    relay.calls = ["a"]
    await until(lambda: list(registry.beats[-1].call_ids) == ["a"])


async def test_beats_are_not_logged_one_by_one(server, registry, relay, until) -> None:
    heartbeat = RelayHeartbeat(server.address, REGISTRATION, relay.snapshot, relay.drains.append)
    with capture_logs() as lines:
        async with running(heartbeat):
            await until(lambda: len(registry.beats) >= 5)
    assert [line["event"] for line in lines] == ["stream_attached"]


async def test_a_registry_that_forgot_the_relay_is_told_again(heartbeat, registry, until) -> None:
    await until(lambda: len(registry.beats) >= 2)
    registry.knows_relay = False
    seen = len(registry.beats)
    await until(lambda: any(beat.HasField("registration") for beat in registry.beats[seen:]))
    await until(lambda: heartbeat.is_registered)


async def test_a_drain_is_told_when_it_begins_and_when_it_ends(heartbeat, registry, relay, until) -> None:
    await until(lambda: registry.beats)
    registry.drain = True
    await until(lambda: relay.drains == [True])
    registry.drain = False
    await until(lambda: relay.drains == [True, False])
    assert registry.beats[-1].draining


@pytest.mark.parametrize("word", ["full", "late"])
async def test_a_full_or_late_relay_beats_so_and_not_draining(
    heartbeat, registry, relay, until, word
) -> None:
    setattr(relay, word, True)
    await until(lambda: registry.beats and getattr(registry.beats[-1], word))
    assert not registry.beats[-1].draining
    assert registry.beats[-1].full != registry.beats[-1].late


async def test_it_registers_again_with_a_registry_that_returns(heartbeat, registry, server, until) -> None:
    await until(lambda: heartbeat.is_registered)
    await server.stop()
    await until(lambda: not heartbeat.is_registered)
    seen = len(registry.beats)
    await server.start()
    await until(lambda: heartbeat.is_registered)
    assert registry.beats[seen].registration == REGISTRATION


async def test_what_has_changed_is_registered_at_once(hourly, registry, until) -> None:
    await until(lambda: hourly.is_registered)
    moved = pb.RelayRegistration(relay=REGISTRATION.relay, advertised_address="198.51.100.7")
    hourly.register_again(moved)
    await until(lambda: registry.beats[-1].registration == moved)
    hourly.beat_now()
    await until(lambda: not registry.beats[-1].HasField("registration"))


async def test_beat_now_does_not_wait_for_the_interval(hourly, registry, relay, until) -> None:
    await until(lambda: hourly.is_registered)
    relay.calls = ["new"]
    hourly.beat_now()
    await until(lambda: list(registry.beats[-1].call_ids) == ["new"])
