"""Calls leave a draining relay, which keeps the media until the caller has accepted (stand-in relays)."""

from dataclasses import replace

import pytest

from edge_kit.caller import SDP, Caller, CallerDialog
from edge_kit.edges import FAST, TestEdge
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from edge_kit.standing_calls import copy_of, established, relay_of
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.sip import make_response


async def test_a_draining_relay_keeps_the_media_until_the_caller_has_answered(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    caller.statuses["INVITE"] = None
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
    invite = await caller.peer_request("INVITE")
    assert other_relay.commands(call.call_id) == ["allocate"]
    assert other_relay.sessions[call.call_id].spec.continuation.bot_at_start
    assert relay.commands(call.call_id) == ["allocate", "start", "acknowledge"]
    caller.statuses.clear()
    caller._answer(invite, edge.sip)
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    await edge.until(lambda: "release" in relay.commands(call.call_id))
    assert other_relay.commands(call.call_id) == ["allocate", "modify", "start"]
    (release,) = [one.command.release for one in relay.handled if one.kind == "release"]
    assert release.moved
    assert caller.requests[-1].method != "BYE"


@pytest.mark.parametrize("status", [488, 500, 603])
async def test_a_caller_that_refuses_stays_on_the_draining_relay(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller, status: int
) -> None:
    caller.statuses["INVITE"] = status
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
    await caller.peer_request("INVITE")
    await edge.until(lambda: copy_of(edge, call).refuses_move)
    assert relay_of(edge, call) == "relay-0"
    await edge.until(lambda: not other_relay.sessions)
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested(at_deadline=True))
    await edge.until(lambda: not relay.unacked)
    assert len({one.via.branch for one in caller.requests if one.method == "INVITE"}) == 1
    caller.statuses.clear()
    assert (await call.ask("INVITE", edge.sip, body=SDP)).status == 200, "its own offers are served"


async def test_without_room_a_draining_relay_keeps_the_call_and_may_ask_again(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
    await edge.until(lambda: not relay.unacked)
    await edge.until(lambda: not copy_of(edge, call).HasField("move"))
    assert not copy_of(edge, call).refuses_move
    registry.relays.append(other_relay)
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
    await edge.until(lambda: relay_of(edge, call) == "relay-1")


async def test_a_draining_relay_that_dies_in_mid_move_ends_nothing(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, caller: Caller
) -> None:
    caller.statuses["INVITE"] = None
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
    invite = await caller.peer_request("INVITE")
    await relay.stop()
    await edge.until(lambda: copy_of(edge, call).move.cause == calls.MOVE_CAUSE_RELAY_LOST)
    caller.statuses.clear()
    caller._answer(invite, edge.sip)
    await edge.until(lambda: relay_of(edge, call) == "relay-1")


async def test_a_call_whose_bot_cannot_resume_stays_on_the_draining_relay(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    registry.gateway.routes[0].bots[0].endpoint = "bot.example:9090"
    relay.can_resume = False
    edge = await start_edge()
    call = await established(edge, caller)
    registry.relays.append(other_relay)
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested(at_deadline=True))
    await edge.until(lambda: not relay.unacked)
    assert relay_of(edge, call) == "relay-0"


async def test_a_caller_that_only_rings_is_cancelled(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    edge = await start_edge("edge-0", times=replace(FAST, reinvite_s=0.3))
    call = await established(edge, caller)
    registry.relays.append(other_relay)
    caller.statuses["INVITE"] = 180
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
    invite = await caller.peer_request("INVITE")
    cancel = await caller.peer_request("CANCEL")
    assert cancel.via.branch == invite.via.branch
    caller.send(make_response(invite, 487), edge.sip)
    await edge.until(lambda: copy_of(edge, call).refuses_move)
    assert relay_of(edge, call) == "relay-0"
