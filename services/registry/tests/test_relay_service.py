import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.calls import random_call_id
from sipgw.runtime.patience import patient
from sipgw.store.testing import RedisServer

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


def registration(name: str = "relay-0", capacity: int = 10) -> pb.RelayRegistration:
    made = pb.RelayRegistration(
        control_address="10.0.0.1:7000", advertised_address="192.0.2.1", capacity_units=capacity
    )
    made.relay.name, made.relay.incarnation = name, f"{name}-i"
    return made


def request(*, registers: bool = False, calls: tuple[str, ...] = ()) -> pb.HeartbeatRequest:
    made = pb.HeartbeatRequest(call_ids=calls, used_units=len(calls), ports_free=100)
    if registers:
        made.registration.CopyFrom(registration())
    return made


async def say(stream: Any, message: Any) -> Any:
    async with asyncio.timeout(patient(10)):
        await stream.write(message)
        return await stream.read()


def reserve(call_id: str, command_id: int = 1, units: int = 1) -> pb.PlacementCommand:
    return pb.PlacementCommand(
        command_id=command_id, call_id=call_id, action=pb.PLACEMENT_ACTION_RESERVE, cost_units=units
    )


async def place(replica: Any, *commands: pb.PlacementCommand) -> list[pb.PlacementResult]:
    stream = replica.placement.Place()
    answer = await say(stream, pb.PlaceRequest(commands=commands))
    await stream.done_writing()
    return list(answer.results)


async def test_a_relay_registers_beats_and_is_listed(replica: Any) -> None:
    stream = replica.relays.Heartbeat()
    answer = await say(stream, request(registers=True))
    assert (answer.not_registered, answer.drain, answer.lease_ms) == (False, False, 3000)
    await say(stream, request(calls=(random_call_id(),)))
    (relay,) = (await replica.relays.ListRelays(pb.ListRelaysRequest())).relays
    assert relay.registration == registration()
    assert (relay.healthy, relay.draining, relay.used_units, relay.calls, relay.ports_free) == (
        True,
        False,
        1,
        1,
        100,
    )


async def test_a_beat_without_registration_is_told_to_register(replica: Any) -> None:
    stream = replica.relays.Heartbeat()
    assert (await say(stream, request())).not_registered
    assert not (await say(stream, request(registers=True))).not_registered


async def test_after_data_loss_a_beat_is_told_to_register_again(
    replica: Any, redis_server: RedisServer
) -> None:
    stream = replica.relays.Heartbeat()
    await say(stream, request(registers=True))
    redis_server.flush()
    assert (await say(stream, request())).not_registered
    assert not (await say(stream, request(registers=True))).not_registered


async def test_a_relay_may_beat_to_another_replica(start_replica: Any) -> None:
    first, second = await start_replica(), await start_replica()
    await say(first.relays.Heartbeat(), request(registers=True))
    await say(second.relays.Heartbeat(), request(registers=True))
    (result,) = await place(first, reserve(random_call_id()))
    assert result.placed


async def test_a_registration_without_identity_is_refused(replica: Any) -> None:
    stream = replica.relays.Heartbeat()
    await stream.write(pb.HeartbeatRequest(registration=pb.RelayRegistration(control_address="x:1")))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stream.read()
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_beat_that_redis_does_not_take_ends_the_stream_unavailable(
    replica: Any, redis_server: RedisServer
) -> None:
    stream = replica.relays.Heartbeat()
    await say(stream, request(registers=True))
    redis_server.stop()
    await stream.write(request())
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stream.read()
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(("word", "retry_after_s"), [("full", 2), ("late", 5)])
async def test_a_relay_that_beats_full_or_late_is_listed_so_and_refused_by_that_word(
    replica: Any, word: str, retry_after_s: int
) -> None:
    stream = replica.relays.Heartbeat()
    await say(stream, request(registers=True))
    beat = request()
    setattr(beat, word, True)
    assert not (await say(stream, beat)).drain
    (relay,) = (await replica.relays.ListRelays(pb.ListRelaysRequest())).relays
    assert (relay.full, relay.late, relay.draining) == (word == "full", word == "late", False)
    (result,) = await place(replica, reserve(random_call_id()))
    assert (result.placed, result.reason, result.retry_after_s) == (False, f"all {word}", retry_after_s)


async def test_drain_reaches_the_relay_with_its_next_beat_and_can_be_taken_back(replica: Any) -> None:
    stream = replica.relays.Heartbeat()
    await say(stream, request(registers=True))
    await replica.relays.DrainRelay(pb.DrainRelayRequest(name="relay-0", drain=True))
    assert (await say(stream, request())).drain
    (relay,) = (await replica.relays.ListRelays(pb.ListRelaysRequest())).relays
    assert (relay.draining, relay.drain_requested) == (True, True)
    (result,) = await place(replica, reserve(random_call_id()))
    assert (result.placed, result.reason, result.retry_after_s) == (False, "all draining", 5)
    await replica.relays.DrainRelay(pb.DrainRelayRequest(name="relay-0", drain=False))
    assert not (await say(stream, request())).drain
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await replica.relays.DrainRelay(pb.DrainRelayRequest(name="relay-7", drain=True))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_batch_is_answered_in_order_with_where_the_relay_is(replica: Any) -> None:
    await say(replica.relays.Heartbeat(), request(registers=True))
    first, second = random_call_id(), random_call_id()
    results = await place(
        replica,
        reserve(first, 7, 9),
        reserve(second, 8, 9),
        pb.PlacementCommand(
            command_id=9, call_id=first, action=pb.PLACEMENT_ACTION_CONFIRM, relay_incarnation="relay-0-i"
        ),
        pb.PlacementCommand(
            command_id=10, call_id=first, action=pb.PLACEMENT_ACTION_RELEASE, relay_incarnation="relay-0-i"
        ),
        reserve(second, 11, 9),
        pb.PlacementCommand(command_id=12, call_id=second),
    )
    assert [result.command_id for result in results] == [7, 8, 9, 10, 11, 12]
    assert [result.placed for result in results] == [True, False, True, True, True, False]
    assert results[0].placement.relay.incarnation == "relay-0-i"
    assert results[0].placement.control_address == "10.0.0.1:7000"
    assert results[0].placement.advertised_address == "192.0.2.1"
    assert (results[1].reason, results[1].retry_after_s) == ("no room", 2)


async def test_without_redis_a_call_is_not_placed_and_may_be_tried_again(
    replica: Any, redis_server: RedisServer
) -> None:
    redis_server.stop()
    (result,) = await place(replica, reserve(random_call_id()))
    assert (result.placed, result.reason, result.retry_after_s) == (False, "Redis is away", 2)
