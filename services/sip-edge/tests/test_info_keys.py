"""Keys that callers press by INFO reach the relay, each once."""

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_relay import FakeRelay
from sipgw.sip import SipRequest


def with_keys(request: SipRequest, body: bytes, content_type: str = "application/dtmf-relay") -> SipRequest:
    headers = request.headers.copy()
    headers.set("Content-Type", content_type)
    return SipRequest(request.method, request.uri, headers, body)


async def established(edge: TestEdge, relay: FakeRelay, caller: Caller) -> CallerDialog:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: "acknowledge" in relay.commands(call.call_id))
    return call


async def test_each_info_is_a_key_and_its_copies_are_none(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, relay, caller)
    for body, content_type in (
        (b"Signal=5\r\nDuration=160\r\n", "application/dtmf-relay"),
        (b"#", "application/dtmf"),
        (b"Signal=16\r\n", "application/dtmf-relay"),
    ):
        info = with_keys(call.next("INFO"), body, content_type)
        caller.send(info, edge.sip)
        assert (await caller.response(info)).status == 200
        caller.send(info, edge.sip)  # a retransmission
        info.headers.set("Via", caller.via)
        caller.send(info, edge.sip)  # as an edge that took the call over gets it: a new transaction
        assert (await caller.response(info)).status == 200
    assert relay.sessions[call.call_id].keys == "5#"
    assert (await call.ask("INFO", edge.sip)).status == 200


async def test_a_relay_that_cannot_be_told_is_no_success(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, relay, caller)
    await relay.stop()
    info = with_keys(call.next("INFO"), b"5", "application/dtmf")
    caller.send(info, edge.sip)
    assert (await caller.response(info)).status == 500
