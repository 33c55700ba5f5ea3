"""Relays that refuse, die, return or hang: the call is placed elsewhere or ends cleanly (stand-in relays)."""

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api


def state_of(edge: TestEdge, call: CallerDialog) -> int | None:
    record = edge.app.records.copy_of(call.call_id)
    return record.state if record is not None else None


async def established(edge: TestEdge, caller: Caller) -> CallerDialog:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: state_of(edge, call) == calls.CALL_STATE_ESTABLISHED)
    return call


@pytest.mark.parametrize("status", [relay_api.COMMAND_STATUS_NO_PORTS, relay_api.COMMAND_STATUS_NO_ROOM])
async def test_a_relay_that_refuses_is_avoided(
    edge: TestEdge,
    registry: FakeRegistry,
    relay: FakeRelay,
    other_relay: FakeRelay,
    caller: Caller,
    status: int,
) -> None:
    registry.relays.append(other_relay)
    relay.refuse_allocate = status
    call = await established(edge, caller)
    assert b"c=IN IP4 192.0.2.11" in call.ok.body
    assert registry.placed[call.call_id] == other_relay.incarnation


async def test_when_every_relay_refuses_the_caller_gets_503_with_retry_after(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, caller: Caller
) -> None:
    relay.refuse_allocate = relay_api.COMMAND_STATUS_NO_PORTS
    invite = caller.invite()
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert refusal.status == 503
    assert refusal.headers.get("Retry-After")
    await edge.until(lambda: not registry.placed)


async def test_the_record_of_a_refused_call_says_why_the_relay_refused_it(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    """The registry knows it only from the relay's next heartbeat on."""
    relay.refuse_allocate = relay_api.COMMAND_STATUS_NO_ROOM
    relay.refusal = "late: the audio is late"
    invite = caller.invite()
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert (refusal.status, refusal.headers.get("Warning")) == (503, '399 sipgw "No Relay: no room"')
    await edge.until(lambda: not len(edge.app.live))
    record = await edge.app.records.load((refusal.to.tag or "")[:32])
    assert record is not None
    assert "the last with: late: the audio is late" in record.end_reason


async def test_a_relay_that_is_not_there_is_avoided(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    registry.relays.append(other_relay)
    await relay.stop()
    call = await established(edge, caller)
    assert b"c=IN IP4 192.0.2.11" in call.ok.body


async def test_new_calls_go_elsewhere_when_a_relay_dies(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    await established(edge, caller)
    registry.relays.append(other_relay)
    await relay.stop()
    registry.unhealthy.add(relay.incarnation)
    assert b"192.0.2.11" in (await established(edge, caller)).ok.body


async def test_a_broken_stream_alone_does_not_lose_a_relay(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, caller: Caller
) -> None:
    """It is connected again at once with its sessions, and its events come to this edge again."""
    call = await established(edge, caller)
    relay.break_streams()
    await edge.until(lambda: "adopt" in relay.commands(call.call_id))
    assert state_of(edge, call) == calls.CALL_STATE_ESTABLISHED
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup())
    assert await caller.peer_request("BYE")


async def test_another_relay_in_its_place_means_that_it_is_lost(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    await established(edge, caller)
    port = int(relay.control_address.rpartition(":")[2])
    await relay.stop()
    reborn = FakeRelay("relay-0")
    await reborn.start(port)
    try:
        bye = await caller.peer_request("BYE")
        assert "relay lost" in (bye.headers.get("Reason") or "")
    finally:
        await reborn.stop()


async def test_a_bot_that_never_reports_is_given_up(
    start_edge, relay: FakeRelay, registry: FakeRegistry, caller: Caller
) -> None:
    """The relay keeps the route's limit; if it reports nothing, the edge's own deadline ends the call."""
    from dataclasses import replace

    from edge_kit.edges import FAST

    registry.gateway.routes[0].bot_ready_timeout_ms = 200
    edge = await start_edge("edge-0", times=replace(FAST, bot_ready_grace_s=0.1))
    relay.bot_ready = False
    invite = caller.invite()
    caller.send(invite, edge.sip)
    assert (await caller.response(invite)).status == 480


def _copy(edge: TestEdge, call: CallerDialog) -> calls.CallSession:
    record = edge.app.records.copy_of(call.call_id)
    assert record is not None
    return record
