"""Unreachable pods: the relay makes one attempt at a time for all calls, until a pod is back."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

import sipgw.media_relay.bots.endpoint as endpoint_module
import sipgw.media_relay.bots.session as session_module
from sipgw.api import voicebot_pb2_grpc
from sipgw.bot.echo import EchoServicer
from sipgw.media_relay.streams.bot_call import BotProtocol
from sipgw.runtime.patience import patient

BOTH = pytest.mark.parametrize("protocol", [BotProtocol.TRUNK, BotProtocol.STREAM_CALL])
CALLS = range(1, 121)


class ClosedDoor:
    """Accepts every connection and closes it at once; counts them."""

    def __init__(self) -> None:
        self.knocks = 0
        self._knocked = asyncio.Event()

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._close, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    async def knocked(self, times: int) -> None:
        async with asyncio.timeout(patient(10)):
            while self.knocks < times:
                self._knocked.clear()
                await self._knocked.wait()

    async def _close(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.knocks += 1
        self._knocked.set()
        writer.close()

    async def aclose(self) -> None:
        self.server.close()
        await self.server.wait_closed()


@pytest.fixture
async def door() -> AsyncIterator[ClosedDoor]:
    door = ClosedDoor()
    await door.open()
    yield door
    await door.aclose()


def resolver_of(addresses: list[str]):
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return tuple(f"{address}:{port}" for address in addresses)

    return resolve


@BOTH
async def test_all_calls_share_the_attempts_to_reach_a_bot_and_the_last_one_ends_them(relay, door, protocol):
    loop = asyncio.get_running_loop()
    began = loop.time()
    for handle in CALLS:
        relay.open(handle, door.address, protocol=protocol, ready_timeout_ms=60_000)
    await door.knocked(6)
    assert door.knocks <= 2 + (loop.time() - began) / 0.05, "more than one attempt in 50 ms"
    for handle in CALLS:
        relay.bridge.close(handle, "bye")
    before = door.knocks
    await asyncio.sleep(0.3)
    assert door.knocks <= before + 1, "attempts for calls that are over"
    assert relay.sessions.told == []


@BOTH
async def test_all_calls_attach_when_the_bot_is_there(relay, bots, door, protocol):
    for handle in CALLS:
        relay.open(handle, door.address, protocol=protocol, ready_timeout_ms=60_000)
    await door.knocked(3)
    await door.aclose()
    await bots(EchoServicer(), port=door.port)
    for handle in CALLS:
        await relay.sessions.told_of("ready", handle)
    await relay.converse(CALLS, frames=2)


async def test_a_call_waits_for_no_bot_longer_than_its_route_says(relay, door):
    relay.open(1, door.address, ready_timeout_ms=300)
    relay.open(2, door.address, ready_timeout_ms=60_000)
    failed = await relay.sessions.told_of("failed", 1)
    assert door.address in failed[2]
    assert relay.sessions.names(2) == []


async def test_the_reason_of_a_failed_connection_is_told(relay):
    relay.open(1, "127.0.0.1:1", ready_timeout_ms=100)
    assert "Connection refused" in (await relay.sessions.told_of("failed", 1))[2]


class Refusing(voicebot_pb2_grpc.VoiceBotServicer):
    """A bot that refuses every call."""

    async def Trunk(self, request_iterator, context):
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    async def StreamCall(self, request_iterator, context):
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")


@BOTH
async def test_a_pod_that_is_away_beside_one_that_refuses_is_not_tried_without_pause(
    new_relay, bots, protocol, monkeypatch
):
    attempts: list[str] = []
    monkeypatch.setattr(session_module, "record_span", lambda *span: attempts.append(span[-1]))
    bot = await bots(Refusing())
    relay = new_relay(resolve=resolver_of(["127.0.0.1", "127.0.0.2"]))
    away = f"127.0.0.2:{bot.port}"
    relay.open(
        1, f"bots.example:{bot.port}", protocol=protocol, ready_timeout_ms=1000, preferred_address=away
    )
    await relay.sessions.told_of("failed", 1)
    refused = [reason for reason in attempts if "RESOURCE_EXHAUSTED" in reason]
    assert 1 <= len(refused) <= 6
    assert len(attempts) <= 2 * len(refused) + 1


async def test_the_new_address_of_a_bot_is_looked_up_while_the_old_one_is_away(new_relay, bots, monkeypatch):
    monkeypatch.setattr(endpoint_module, "FRESH_S", 1e6)
    addresses = ["127.0.0.1"]
    relay = new_relay(resolve=resolver_of(addresses))
    old = await bots(EchoServicer())
    relay.open(1, f"bots.example:{old.port}")
    await relay.sessions.told_of("ready", 1)
    addresses[:] = ["127.0.0.2"]
    new = await bots(EchoServicer(), port=old.port, host="127.0.0.2")
    await old.die()
    await relay.sessions.until(lambda: relay.sessions.names(1).count("ready") == 2)
    assert [told[3] for told in relay.sessions.told if told[0] == "ready"] == [old.address, new.address]
