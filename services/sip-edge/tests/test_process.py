"""`sipgw-edge` as a process, with a real registry and Redis; a stand-in relay that registers."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import eventually
from edge_kit.fake_relay import FakeRelay
from edge_kit.processes import Process
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.registry.v1 import registry_pb2 as registry_api
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.control import Beat, RegistryClient, RelayHeartbeat
from sipgw.runtime.settings import HostPort
from sipgw.sip import Address, make_ack
from sipgw.sip_edge.__main__ import advertised_address
from sipgw.store.testing import RedisServer

StartEdge = Callable[..., Awaitable[tuple[Process, Address]]]


@pytest.fixture
async def registry_process(redis: RedisServer) -> AsyncIterator[str]:
    process = await Process.start("sipgw.registry", "--listen", "127.0.0.1:0", "--redis", redis.url)
    yield (await process.ready())["listen"]
    await process.end()


@pytest.fixture
async def client(registry_process: str, gateway: config.GatewayConfig) -> AsyncIterator[RegistryClient]:
    one = RegistryClient(registry_process)
    await one.put_config(gateway, 0)
    yield one
    await one.aclose()


@pytest.fixture
async def registered(relay: FakeRelay, client: RegistryClient) -> AsyncIterator[FakeRelay]:
    registration = registry_api.RelayRegistration(
        relay=calls.ProcessIdentity(name=relay.name, incarnation=relay.incarnation),
        control_address=relay.control_address,
        advertised_address=relay.address,
        capacity_units=100,
        codecs=[config.AUDIO_CODEC_PCMU, config.AUDIO_CODEC_PCMA],
    )
    heartbeat = RelayHeartbeat(
        client.target,
        registration,
        lambda: Beat(call_ids=list(relay.sessions), used_units=0, draining=False, ports_free=100),
        lambda _drain: None,
    )
    beating = asyncio.create_task(heartbeat.run(), name="heartbeat")

    async def is_known() -> bool:
        return any(one.healthy for one in await client.list_relays())

    await eventually(is_known)
    yield relay
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)


@pytest.fixture
async def start_edge(redis: RedisServer, client: RegistryClient) -> AsyncIterator[StartEdge]:
    started: list[Process] = []

    async def start(name: str = "edge-0") -> tuple[Process, Address]:
        options = {
            "--name": name,
            "--sip": "127.0.0.1:0",
            "--advertise": "127.0.0.1",
            "--listen": "127.0.0.1:0",
            "--registry": client.target,
            "--redis": redis.url,
            "--admin": "127.0.0.1:0",
        }
        flags = [part for pair in options.items() for part in pair]
        process = await Process.start("sipgw.sip_edge", *flags)
        started.append(process)
        host, _, port = (await process.ready())["sip"].rpartition(":")
        return process, Address("UDP", host, int(port))

    yield start
    for process in started:
        await process.end(signal.SIGKILL)


async def test_a_call_through_the_real_registry_and_a_clean_end(
    start_edge: StartEdge, registered: FakeRelay, client: RegistryClient, caller: Caller
) -> None:
    edge, sip = await start_edge()
    await _until_calls_are_taken(caller, sip)
    call = await CallerDialog.established(caller, sip)

    async def is_listed() -> bool:
        return [one.call_id for one in await client.list_calls()] == [call.call_id]

    await eventually(is_listed)
    assert await edge.end() == 0
    bye = await caller.peer_request("BYE")
    assert "shut down" in (bye.headers.get("Reason") or "")
    assert registered.sessions == {}
    transitions = [line["event"] for line in map(_parsed, edge.lines) if line.get("call_id") == call.call_id]
    assert transitions[0] == "call_invited"
    assert transitions[-1] == "call_ended"
    assert all(line.get("trace_id") for line in map(_parsed, edge.lines) if line.get("call_id"))


async def test_hangup_through_the_registry(
    start_edge: StartEdge, registered: FakeRelay, client: RegistryClient, caller: Caller
) -> None:
    edge, sip = await start_edge()
    await _until_calls_are_taken(caller, sip)
    call = await CallerDialog.established(caller, sip)

    async def is_hung_up() -> bool:
        return await client.hangup_call(call.call_id, "test")

    await eventually(is_hung_up)
    await caller.peer_request("BYE")
    await edge.end()


async def test_an_edge_killed_in_mid_call_and_its_call_claimed_by_the_other(
    start_edge: StartEdge, registered: FakeRelay, client: RegistryClient, caller: Caller
) -> None:
    a, sip_a = await start_edge("edge-a")
    b, _ = await start_edge("edge-b")
    await _until_calls_are_taken(caller, sip_a)
    call = await CallerDialog.established(caller, sip_a)

    async def is_established() -> bool:
        listed = await client.get_call(call.call_id)
        return listed is not None and listed.state == calls.CALL_STATE_ESTABLISHED

    await eventually(is_established)
    await a.end(signal.SIGKILL)

    async def is_claimed() -> bool:
        return bool(b.logged("call_taken_over"))

    await eventually(is_claimed, 15)
    registered.emit(call.call_id, bot_hangup=relay_api.BotHangup(reason="done"))
    bye = await caller.peer_request("BYE")
    assert (bye.via.branch or "").startswith("z9hG4bK-edge-b-")
    assert await b.end() == 0


async def test_a_taken_port_is_said_in_one_line(redis: RedisServer, caller: Caller) -> None:
    process = await Process.start(
        "sipgw.sip_edge",
        *["--name", "edge-0", "--sip", f"127.0.0.1:{caller.port}", "--advertise", "127.0.0.1"],
        *["--listen", "127.0.0.1:0", "--registry", "127.0.0.1:1", "--redis", redis.url],
    )
    assert await process.ended() == 2
    assert f"127.0.0.1:{caller.port}" in process.lines[-1]


async def test_a_redis_url_that_is_none_is_said_in_one_line() -> None:
    process = await Process.start(
        "sipgw.sip_edge",
        *["--name", "edge-0", "--sip", "127.0.0.1:0", "--advertise", "127.0.0.1"],
        *["--listen", "127.0.0.1:0", "--registry", "127.0.0.1:1", "--redis", "mysql://nowhere"],
    )
    assert await process.ended() == 2
    assert process.lines[-1].startswith("--redis:")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 0),
        ("192.0.2.1:5070", "192.0.2.1", 5070),
        ("2001:db8::1", "2001:db8::1", 0),
        ("[2001:db8::1]:5070", "2001:db8::1", 5070),
        ("[2001:db8::1]", "2001:db8::1", 0),
    ],
)
def test_what_advertise_may_be(text: str, host: str, port: int) -> None:
    assert advertised_address(text) == HostPort(host, port)


async def _until_calls_are_taken(caller: Caller, sip: Address) -> None:
    """Wait until the edge has a config from the registry; until then new calls get 503."""

    async def is_taken() -> bool:
        probe = caller.invite(sdp=b"v=0\r\nnot sdp")
        caller.send(probe, sip)
        final = await caller.response(probe)
        caller.send(make_ack(probe, final), sip)
        return final.status == 400

    await eventually(is_taken)


def _ack(invite, final):
    from sipgw.sip import make_ack

    return make_ack(invite, final)


def _parsed(line: str) -> dict[str, object]:
    return json.loads(line) if line.startswith("{") else {}
