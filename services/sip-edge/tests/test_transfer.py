"""A bot transfers its caller by REFER; the outcome arrives by NOTIFY and is passed to the bot (RFC 3515)."""

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.sip import Address, SipResponse, make_response


async def established(edge: TestEdge, caller: Caller) -> CallerDialog:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: _copy(edge, call).state == calls.CALL_STATE_ESTABLISHED)
    return call


def _copy(edge: TestEdge, call: CallerDialog) -> calls.CallSession:
    return edge.app.records.copy_of(call.call_id) or calls.CallSession()


def request_transfer(relay: FakeRelay, call: CallerDialog, target: str) -> None:
    relay.emit(call.call_id, transfer_requested=relay_api.TransferRequested(target=target))


async def notify(call: CallerDialog, edge: TestEdge, status_line: bytes) -> SipResponse:
    headers = (("Event", "refer"), ("Subscription-State", "active"))
    request = call.next("NOTIFY", body=status_line, headers=headers)
    request.headers.set("Content-Type", "message/sipfrag")
    call.caller.send(request, edge.sip)
    return await call.caller.response(request)


@pytest.mark.parametrize(
    ("target", "refer_to"),
    [("sip:agent@example.com", "<sip:agent@example.com>"), ("+4930123", "<sip:+4930123@127.0.0.1>")],
)
async def test_a_transfer_that_comes_through_ends_the_call(
    edge: TestEdge, relay: FakeRelay, caller: Caller, target: str, refer_to: str
) -> None:
    call = await established(edge, caller)
    request_transfer(relay, call, target)
    refer = await caller.peer_request("REFER")
    assert refer.headers.get("Refer-To") == refer_to
    session = relay.sessions[call.call_id]
    assert (await notify(call, edge, b"SIP/2.0 100 Trying")).status == 200
    assert not session.informed
    assert (await notify(call, edge, b"SIP/2.0 200 OK")).status == 200
    await caller.peer_request("BYE")
    assert [(one.transfer_accepted, one.transfer_status) for one in session.informed] == [(True, 200)]
    await edge.until(lambda: edge.app.records.copy_of(call.call_id) is None)
    ended = await edge.app.records.load(call.call_id)
    assert ended is not None
    assert ended.end_cause == calls.END_CAUSE_TRANSFERRED


async def test_a_transfer_that_fails_leaves_the_call_with_its_bot(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    request_transfer(relay, call, "sip:agent@example.com")
    await caller.peer_request("REFER")
    await notify(call, edge, b"SIP/2.0 486 Busy Here")
    session = relay.sessions[call.call_id]
    await edge.until(lambda: bool(session.informed))
    assert (session.informed[0].transfer_accepted, session.informed[0].transfer_status) == (False, 486)
    assert _copy(edge, call).state == calls.CALL_STATE_ESTABLISHED
    assert (await call.ask("BYE", edge.sip)).status == 200


async def test_a_caller_that_refuses_the_refer_is_the_outcome(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    caller.answer_requests = False
    request_transfer(relay, call, "sip:agent@example.com")
    refer = await caller.peer_request("REFER")
    caller.send(make_response(refer, 603), Address("UDP", edge.sip.host, edge.sip.port))
    session = relay.sessions[call.call_id]
    await edge.until(lambda: bool(session.informed))
    assert session.informed[0].transfer_status == 603


async def test_a_target_that_is_none_is_refused_at_once(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    request_transfer(relay, call, "sip:evil@x\r\nVia: spoofed")
    session = relay.sessions[call.call_id]
    await edge.until(lambda: bool(session.informed))
    assert session.informed[0].transfer_status == 400
    assert not [one for one in caller.requests if one.method == "REFER"]
