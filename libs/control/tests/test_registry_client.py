"""RegistryClient against a small registry on a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_ENDED, CALL_STATE_ESTABLISHED, ProcessIdentity
from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1 import registry_pb2_grpc as services
from sipgw.control import (
    CallsChanged,
    ConfigConflict,
    NoPlacement,
    RegistryClient,
    RegistryRefused,
    RegistryUnreachable,
)
from sipgw.runtime.patience import patient

RELAY = ProcessIdentity(name="relay-0", incarnation="r1")


class Registry(
    services.CallRegistryServiceServicer,
    services.PlacementServiceServicer,
    services.RelayRegistrationServiceServicer,
    services.ConfigServiceServicer,
):
    """All services of the registry, in memory."""

    def __init__(self) -> None:
        self.calls = {"a": pb.CallSummary(call_id="a", version=1, state=CALL_STATE_ESTABLISHED)}
        self.changes: asyncio.Queue[pb.WatchCallsResponse | None] = asyncio.Queue()
        self.watched_from: list[str] = []
        self.hung_up: list[tuple[str, str]] = []
        self.batches: list[list[pb.PlacementCommand]] = []
        self.has_room = True
        self.answers = True
        self.ends_next = False
        self.config = GatewayConfig(epoch="e", version=1)
        self.configs: asyncio.Queue[GatewayConfig] = asyncio.Queue()
        self.drained: list[tuple[str, bool]] = []

    def add_to(self, _, server) -> None:
        services.add_CallRegistryServiceServicer_to_server(self, server)
        services.add_PlacementServiceServicer_to_server(self, server)
        services.add_RelayRegistrationServiceServicer_to_server(self, server)
        services.add_ConfigServiceServicer_to_server(self, server)

    async def GetCall(self, request, context):
        if request.call_id not in self.calls:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such call")
        return pb.GetCallResponse(call=self.calls[request.call_id])

    async def ListCalls(self, request, context):
        return pb.ListCallsResponse(calls=self.calls.values(), resource_version="v1")

    async def WatchCalls(self, request, context):
        self.watched_from.append(request.resource_version)
        while (change := await self.changes.get()) is not None:
            yield change
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "trimmed")

    async def CountCalls(self, request, context):
        return pb.CountCallsResponse(live=len(self.calls), by_route={"echo": 1})

    async def HangupCall(self, request, context):
        if request.call_id not in self.calls:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such call")
        self.hung_up.append((request.call_id, request.reason))
        return pb.HangupCallResponse()

    async def Place(self, request_iterator, context):
        async for request in request_iterator:
            self.batches.append(list(request.commands))
            if self.ends_next:
                self.ends_next = False
                return
            if self.answers:
                yield pb.PlaceResponse(results=[self._place(command) for command in request.commands])

    def _place(self, command: pb.PlacementCommand) -> pb.PlacementResult:
        if not self.has_room:
            return pb.PlacementResult(command_id=command.command_id, reason="no room", retry_after_s=7)
        placement = pb.Placement(
            relay=RELAY, control_address="10.0.0.1:7000", advertised_address=command.call_id
        )
        return pb.PlacementResult(command_id=command.command_id, placed=True, placement=placement)

    async def ListRelays(self, request, context):
        return pb.ListRelaysResponse(relays=[pb.Relay(healthy=True, calls=3)])

    async def DrainRelay(self, request, context):
        if request.name != "relay-0":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no relay of that name")
        self.drained.append((request.name, request.drain))
        return pb.DrainRelayResponse()

    async def GetConfig(self, request, context):
        return pb.GetConfigResponse(config=self.config)

    async def PutConfig(self, request, context):
        if request.expected_version != self.config.version:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"version is {self.config.version}")
        self.config = GatewayConfig(epoch="e", version=self.config.version + 1)
        return pb.PutConfigResponse(epoch="e", version=self.config.version)

    async def WatchConfig(self, request, context):
        yield pb.WatchConfigResponse(config=self.config)
        while True:
            yield pb.WatchConfigResponse(config=await self.configs.get())


@pytest.fixture
async def registry() -> Registry:
    return Registry()


@pytest.fixture
async def server(registry, serve):
    return await serve(registry, registry.add_to, "sipgw.api.registry.v1.CallRegistryService")


@pytest.fixture
async def client(server) -> AsyncIterator[RegistryClient]:
    client = RegistryClient(server.address)
    yield client
    await client.aclose()


async def test_calls_are_got_listed_counted_and_hung_up(client, registry) -> None:
    call = await client.get_call("a")
    assert call is not None
    assert call.state == CALL_STATE_ESTABLISHED
    assert await client.get_call("b") is None
    assert [call.call_id for call in await client.list_calls()] == ["a"]
    assert (await client.count_calls()).by_route == {"echo": 1}
    assert await client.hangup_call("a", "operator")
    assert not await client.hangup_call("b")
    assert registry.hung_up == [("a", "operator")]


async def test_a_registry_that_is_not_there_is_unreachable_by_every_method() -> None:
    client = RegistryClient("127.0.0.1:1")
    for asking in (client.get_call("a"), client.list_calls(), client.list_relays(), client.place("a", 1)):
        with pytest.raises(RegistryUnreachable):
            await asyncio.wait_for(asking, patient(3))
    await client.aclose()


async def test_placements_of_one_loop_turn_travel_in_one_batch(client, registry) -> None:
    await client.place("warm", 1)
    placements = await asyncio.gather(*(client.place(f"c{n}", 10, avoid=["r9"]) for n in range(50)))
    assert [placement.advertised_address for placement in placements] == [f"c{n}" for n in range(50)]
    assert [len(batch) for batch in registry.batches] == [1, 50]
    first = registry.batches[1][0]
    assert (first.action, first.cost_units, list(first.avoid_relays)) == (
        pb.PLACEMENT_ACTION_RESERVE,
        10,
        ["r9"],
    )


async def test_no_room_says_why_and_when_to_come_again(client, registry) -> None:
    registry.has_room = False
    with pytest.raises(NoPlacement) as caught:
        await client.place("a", 1)
    assert (caught.value.reason, caught.value.retry_after_s) == ("no room", 7)


async def test_a_lapsed_reservation_is_told_at_confirm_and_nothing_to_release_is_no_error(
    client, registry
) -> None:
    await client.confirm_placement("a", "r1")
    registry.has_room = False
    with pytest.raises(NoPlacement):
        await client.confirm_placement("a", "r1")
    await client.release_placement("a", "r1")
    assert [batch[0].action for batch in registry.batches] == [
        pb.PLACEMENT_ACTION_CONFIRM,
        pb.PLACEMENT_ACTION_CONFIRM,
        pb.PLACEMENT_ACTION_RELEASE,
    ]
    assert registry.batches[2][0].relay_incarnation == "r1"


async def test_placement_goes_on_after_a_restart_of_the_registry(client, registry, server) -> None:
    await client.place("a", 1)
    await server.stop()
    with pytest.raises(RegistryUnreachable):
        await client.place("b", 1)
    await server.start()
    async with asyncio.timeout(patient(5)):
        while True:
            try:
                await client.place("c", 1)
                break
            except RegistryUnreachable:
                continue


async def test_a_placement_that_met_the_end_of_its_stream_is_asked_again(registry, server) -> None:
    client = RegistryClient(server.address, deadline_s=5)
    await client.place("a", 1)
    registry.ends_next = True
    assert (await client.place("b", 1)).relay == RELAY
    assert [batch[0].call_id for batch in registry.batches] == ["a", "b", "b"]
    await client.aclose()


async def test_a_silent_registry_is_unreachable_at_the_deadline(registry, server) -> None:
    client = RegistryClient(server.address, deadline_s=0.2)
    registry.answers = False
    with pytest.raises(RegistryUnreachable, match=r"0\.2 s"):
        await client.place("a", 1)
    registry.answers = True
    async with asyncio.timeout(patient(5)):
        while not await is_placed(client, "b"):
            pass
    await client.aclose()


async def is_placed(client: RegistryClient, call_id: str) -> bool:
    try:
        return (await client.place(call_id, 1)).relay == RELAY
    except RegistryUnreachable:  # its deadline is short
        return False


async def test_config_is_got_and_put_by_expected_version(client) -> None:
    config = await client.get_config()
    assert config is not None
    assert config.version == 1
    assert await client.put_config(GatewayConfig(), expected_version=1) == ("e", 2)
    with pytest.raises(ConfigConflict, match="version is 2"):
        await client.put_config(GatewayConfig(), expected_version=1)


async def test_following_the_config_takes_newer_ones_only_and_survives_a_restart(
    client, registry, server, until
) -> None:
    seen: list[tuple[str, int]] = []
    following = asyncio.ensure_future(
        client.follow_config(lambda config: seen.append((config.epoch, config.version)))
    )
    await until(lambda: seen == [("e", 1)])
    for epoch, version in (("e", 3), ("e", 2), ("e", 3), ("f", 1)):
        registry.configs.put_nowait(GatewayConfig(epoch=epoch, version=version))
    await until(lambda: seen == [("e", 1), ("e", 3), ("f", 1)])
    await server.stop()
    registry.config = GatewayConfig(epoch="f", version=2)
    await server.start()
    await until(lambda: seen[-1] == ("f", 2))
    following.cancel()


async def test_a_handler_that_refuses_a_config_gets_the_next_one(client, registry, until) -> None:
    seen: list[int] = []

    async def apply(config: GatewayConfig) -> None:
        seen.append(config.version)
        if config.version == 1:
            raise ValueError("no such codec")

    following = asyncio.ensure_future(client.follow_config(apply))
    await until(lambda: seen == [1])
    registry.configs.put_nowait(GatewayConfig(epoch="e", version=2))
    await until(lambda: seen == [1, 2])
    following.cancel()


async def take(watch: AsyncIterator[CallsChanged]) -> CallsChanged:
    return await asyncio.wait_for(anext(watch), patient(5))


async def test_watching_calls_begins_with_all_and_goes_on_with_changes(client, registry) -> None:
    watch = client.watch_calls()
    first = await take(watch)
    assert (first.is_snapshot, [call.call_id for call in first.calls]) == (True, ["a"])
    ended = pb.CallSummary(call_id="a", version=2, state=CALL_STATE_ENDED)
    registry.changes.put_nowait(pb.WatchCallsResponse(changed=[ended], resource_version="v2"))
    assert await take(watch) == CallsChanged((ended,), is_snapshot=False)
    assert registry.watched_from == ["v1"]
    await watch.aclose()


async def test_a_trimmed_watch_lists_again(client, registry) -> None:
    watch = client.watch_calls()
    await take(watch)
    registry.changes.put_nowait(None)
    assert (await take(watch)).is_snapshot
    await watch.aclose()


async def test_a_watch_goes_on_where_it_was_after_a_restart(client, registry, server) -> None:
    watch = client.watch_calls()
    await take(watch)
    registry.changes.put_nowait(pb.WatchCallsResponse(resource_version="v2"))
    await take(watch)
    next_change = asyncio.ensure_future(take(watch))
    await server.stop()
    await server.start()
    registry.changes.put_nowait(pb.WatchCallsResponse(resource_version="v3"))
    assert not (await next_change).is_snapshot
    assert registry.watched_from[-1] == "v2"
    await watch.aclose()


async def test_relays_are_listed_and_drained(client, registry) -> None:
    assert [relay.calls for relay in await client.list_relays()] == [3]
    await client.drain_relay("relay-0")
    await client.drain_relay("relay-0", drain=False)
    assert registry.drained == [("relay-0", True), ("relay-0", False)]
    with pytest.raises(RegistryRefused, match="no relay of that name"):
        await client.drain_relay("relay-9")


async def test_a_placement_that_one_replica_does_not_answer_goes_to_the_next(registry, server, serve) -> None:
    """The connections of a node that was cut off stay open, but nothing arrives over them."""
    cut_off = Registry()
    cut_off.answers = False
    other = await serve(cut_off, cut_off.add_to, "sipgw.api.registry.v1.CallRegistryService")
    client = RegistryClient(f"{other.address},{server.address}", deadline_s=patient(10))
    assert (await client.place("a", 1)).relay == RELAY
    assert [len(cut_off.batches), len(registry.batches)] == [1, 1]
    await client.aclose()
