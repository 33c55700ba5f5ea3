"""Ends that the gateway decides: the operator's, and that of its own shutdown."""

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.control import EdgeClient


async def established(edge: TestEdge, caller: Caller) -> CallerDialog:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: _state(edge, call) == calls.CALL_STATE_ESTABLISHED)
    return call


def _state(edge: TestEdge, call: CallerDialog) -> int | None:
    record = edge.app.records.copy_of(call.call_id)
    return record.state if record is not None else None


async def test_hangup_ends_a_call_with_a_bye(edge: TestEdge, caller: Caller) -> None:
    call = await established(edge, caller)
    client = EdgeClient(edge.bound["listen"])
    assert await client.hangup(call.call_id, "maintenance")
    bye = await caller.peer_request("BYE")
    assert "operator" in (bye.headers.get("Reason") or "")
    await edge.until(lambda: _state(edge, call) is None)
    assert not await client.hangup(call.call_id, "again")
    await client.aclose()


async def test_shutdown_ends_every_call_and_refuses_new_ones(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    answered = [await established(edge, caller) for _ in range(5)]
    relay.bot_ready = False
    ringing = caller.invite()
    caller.send(ringing, edge.sip)
    await caller.response(ringing, 180)
    edge.is_gone = True
    await edge.process.stop()
    assert len({one.call_id for one in caller.requests if one.method == "BYE"}) == len(answered)
    assert (await caller.response(ringing)).status == 503
    assert relay.sessions == {}


async def test_an_edge_that_stops_says_503_to_options_and_invites(edge: TestEdge, caller: Caller) -> None:
    edge.app.intake.refuse_new_calls()
    for method in ("OPTIONS", "INVITE"):
        request = caller.invite() if method == "INVITE" else caller.request(method)
        caller.send(request, edge.sip)
        refusal = await caller.response(request)
        assert (refusal.status, bool(refusal.headers.get("Retry-After"))) == (503, True)


async def test_a_caller_that_never_answers_the_bye_does_not_hold_the_end_up(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    await established(edge, caller)
    caller.answer_requests = False
    edge.is_gone = True
    await edge.process.stop()
    assert [one for one in caller.requests if one.method == "BYE"]
    assert relay.sessions == {}


async def test_the_totals_of_a_call_are_told_also_when_they_come_after_its_end(
    edge: TestEdge, relay: FakeRelay, caller: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    relay.ends_late = True
    call = await established(edge, caller)
    session = relay.sessions[call.call_id]
    assert (await call.ask("BYE", edge.sip)).status == 200
    await edge.until(lambda: _state(edge, call) is None)
    assert "media_ended" not in "".join(capsys.readouterr())
    relay.sessions[call.call_id] = session
    relay.emit(call.call_id, session_ended=relay_api.SessionEnded(reason="the caller hung up"))
    await edge.until(lambda: "media_ended" in "".join(capsys.readouterr()))
