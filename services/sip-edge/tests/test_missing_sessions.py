"""Calls whose relay is alive and has no session for them any more: they go on at another relay."""

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from edge_kit.standing_calls import copy_of, established, relay_of
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api

ELSEWHERE = "another relay has the call"


def end_session(relay: FakeRelay, call: CallerDialog, reason: str) -> None:
    """Have the relay end the session by itself and report it."""
    relay.emit(call.call_id, session_ended=relay_api.SessionEnded(reason=reason))
    relay.sessions.pop(call.call_id, None)


def byes(caller: Caller) -> list[str]:
    return [str(one.headers.get("Reason")) for one in caller.requests if one.method == "BYE"]


@pytest.mark.parametrize("reason", [ELSEWHERE, "nobody confirmed it", "the relay stops"])
async def test_a_call_whose_session_the_relay_ended_goes_on_at_another(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller, reason: str
) -> None:
    end_session(relay, call, reason)
    await edge.until(lambda: relay_of(edge, call) == "relay-1", 3)
    assert other_relay.sessions[call.call_id].is_started
    assert not byes(caller)
    assert (await call.ask("BYE", edge.sip)).status == 200


async def test_a_move_goes_on_when_the_relay_that_is_left_ends_the_session(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    """The relay was only silent for a moment: the bot has ended its stream for that of the new relay."""
    caller.statuses["INVITE"] = None
    relay.freeze()
    await caller.peer_request("INVITE")
    relay.thaw()
    await edge.until(lambda: "adopt" in relay.commands(call.call_id), 4)
    end_session(relay, call, ELSEWHERE)
    await edge.until(lambda: not relay.unacked, 4)
    caller.statuses.clear()
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    assert not byes(caller)
    assert (await call.ask("BYE", edge.sip)).status == 200


async def test_without_room_elsewhere_the_call_ends_when_its_relay_has_lost_the_session(
    edge: TestEdge, relay: FakeRelay, registry: FakeRegistry, caller: Caller
) -> None:
    call = await established(edge, caller)
    end_session(relay, call, "nobody confirmed it")
    bye = await caller.peer_request("BYE", within_s=4)
    assert "relay lost" in (bye.headers.get("Reason") or "")
    assert not registry.unhealthy


async def test_an_edge_leaves_a_lost_session_to_the_edge_that_has_claimed_the_call(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    """The relay reports to the edge that it knows, and that edge does not know yet that it lost the call."""
    first, second = await start_edge("edge-0"), await start_edge("edge-1")
    call = await established(first, caller)
    registry.relays.append(other_relay)
    record = await second.app.records.load(call.call_id)
    assert record is not None
    claimed = await second.app.records.claim(record)
    assert claimed is not None
    end_session(relay, call, ELSEWHERE)
    await first.until(lambda: not relay.unacked)
    assert copy_of(first, call) is None
    current = await second.app.records.reload(call.call_id)
    assert current is not None
    assert current.state == calls.CALL_STATE_ESTABLISHED
    assert not byes(caller)
