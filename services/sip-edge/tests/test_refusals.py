"""Requests that are refused, each with its status (RFC 3261 §8.2, §21)."""

import pytest

from edge_kit.caller import SDP, Caller, CallerDialog, ack_failure
from edge_kit.edges import TestEdge
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.sip import Address, SipResponse, serialize
from sipgw.sip_edge.limits import EdgeLimits, SetupWindowLimits

ONLY_VIDEO = SDP.replace(b"m=audio 40000 RTP/AVP 0 8 101", b"m=audio 40000 RTP/AVP 18 101")


async def _final(caller: Caller, edge: TestEdge, method: str, **fields: object) -> SipResponse:
    request = caller.request(method, **fields)
    caller.send(request, edge.sip)
    return await caller.response(request)


async def test_options_says_what_is_served(edge: TestEdge, caller: Caller) -> None:
    ok = await _final(caller, edge, "OPTIONS")
    assert ok.status == 200
    assert "INVITE" in ok.tokens("Allow")
    assert ok.headers.get("Accept") == "application/sdp"


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("REGISTER", 405),
        ("MESSAGE", 405),
        ("REFER", 405),
        ("PRACK", 481),
        ("UPDATE", 481),
        ("INFO", 481),
        ("NOTIFY", 481),
        ("BREW", 501),
        ("BYE", 481),
    ],
)
async def test_methods_that_make_no_call(edge: TestEdge, caller: Caller, method: str, status: int) -> None:
    refusal = await _final(caller, edge, method)
    assert refusal.status == status
    if status in {405, 501}:
        assert "INVITE" in refusal.tokens("Allow")


async def test_an_extension_that_is_required_and_unknown_is_named(edge: TestEdge, caller: Caller) -> None:
    invite = caller.invite(headers=(("Require", "100rel, timer"),))
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert (refusal.status, refusal.tokens("Unsupported")) == (420, ("100rel", "timer"))


async def test_a_body_that_is_no_sdp_gets_415(edge: TestEdge, caller: Caller) -> None:
    invite = caller.request("INVITE", body=b"hello", content_type="text/plain")
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert (refusal.status, refusal.headers.get("Accept")) == (415, "application/sdp")


async def test_a_uri_that_is_not_sip_gets_416(edge: TestEdge, caller: Caller) -> None:
    assert (await _final(caller, edge, "OPTIONS", uri="http:example")).status == 416


async def test_no_hops_left_gets_483(edge: TestEdge, caller: Caller) -> None:
    assert (await _final(caller, edge, "INVITE", max_forwards=0)).status == 483


async def test_another_sip_version_gets_505(edge: TestEdge, caller: Caller) -> None:
    request = caller.request("OPTIONS")
    caller.send(serialize(request).replace(b" SIP/2.0\r\n", b" SIP/7.0\r\n", 1), edge.sip)
    assert (await caller.response(request)).status == 505


async def test_a_malformed_header_gets_400_and_the_edge_lives(edge: TestEdge, caller: Caller) -> None:
    request = caller.request("INVITE")
    caller.send(serialize(request).replace(b"Max-Forwards: 70", b"Max-Forwards: many"), edge.sip)
    await caller._until(lambda: next((r for r in caller.responses if r.status == 400), None), "400")
    assert (await _final(caller, edge, "OPTIONS")).status == 200


async def test_no_codec_in_common_gets_488_and_a_tombstone(edge: TestEdge, caller: Caller) -> None:
    invite = caller.invite(sdp=ONLY_VIDEO)
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert refusal.status == 488
    ack_failure(caller, invite, refusal, edge.sip)
    await edge.until(lambda: not len(edge.app.live))
    record = await edge.app.records.load((refusal.to.tag or "")[:32])
    assert record is not None
    assert (record.state, record.sip_status) == (calls.CALL_STATE_ENDED, 488)
    assert record.end_reason == "it offers G729 telephone-event (supported: PCMU PCMA)"
    assert record.end_reason in (refusal.headers.get("Warning") or "")
    assert record.end_cause == calls.END_CAUSE_REJECTED


async def test_broken_sdp_gets_400(edge: TestEdge, caller: Caller) -> None:
    invite = caller.invite(sdp=b"v=0\r\nm=audio\r\n")
    caller.send(invite, edge.sip)
    assert (await caller.response(invite)).status == 400


async def test_no_route_gets_404_and_its_record_says_who_called_whom(
    edge: TestEdge, caller: Caller, registry: FakeRegistry
) -> None:
    assert edge.app.gateway.current is not None
    edge.app.gateway.current.routes[0].match.to.exact = "somebody"
    invite = caller.invite()
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert refusal.status == 404
    record = await edge.app.records.load((refusal.to.tag or "")[:32])
    assert record is not None
    assert (record.from_display, record.to_display, record.route) == ("alice", "bot", "")


async def test_a_source_of_no_trunk_gets_403(edge: TestEdge, caller: Caller) -> None:
    assert edge.app.gateway.current is not None
    edge.app.gateway.current.trunks[0].source_cidrs.append("203.0.113.0/24")
    invite = caller.invite()
    caller.send(invite, edge.sip)
    assert (await caller.response(invite)).status == 403


async def test_no_room_gets_503_with_the_registrys_retry_after(
    edge: TestEdge, caller: Caller, registry: FakeRegistry
) -> None:
    registry.relays.clear()
    invite = caller.invite()
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert (refusal.status, refusal.headers.get("Retry-After")) == (503, "7")


async def test_a_merged_request_gets_482(edge: TestEdge, caller: Caller, relay: FakeRelay) -> None:
    invite = caller.invite()
    caller.send(invite, edge.sip)
    await caller.response(invite, 200)
    merged = serialize(invite).replace((invite.via.branch or "").encode(), b"z9hG4bKanotherpath")
    caller.send(merged, edge.sip)
    await caller._until(lambda: next((r for r in caller.responses if r.status == 482), None), "482")
    assert len(relay.sessions) == 1


async def test_a_second_attempt_with_the_next_cseq_is_another_call(
    edge: TestEdge, caller: Caller, registry: FakeRegistry, relay: FakeRelay
) -> None:
    registry.relays.clear()
    names = {"from_": f"<sip:a@127.0.0.1:{caller.port}>;tag=same", "call_id": "same"}
    first = caller.invite(**names)
    caller.send(first, edge.sip)
    refusal = await caller.response(first)
    assert refusal.status == 503
    ack_failure(caller, first, refusal, edge.sip)

    registry.relays.append(relay)
    second = caller.invite(**names, cseq=2)
    caller.send(second, edge.sip)
    assert (await caller.response(second)).status == 200


async def test_requests_of_calls_that_are_not_there_get_481(edge: TestEdge, caller: Caller) -> None:
    to = f"<sip:bot@127.0.0.1>;tag={'0' * 32}.ffff"
    for method in ("BYE", "INFO", "INVITE", "UPDATE", "NOTIFY", "OPTIONS"):
        assert (await _final(caller, edge, method, to=to)).status == 481


async def test_a_request_with_the_tag_of_a_call_but_another_caller_gets_481(
    edge: TestEdge, caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    to = f"<sip:bot@127.0.0.1>;tag={call.ok.to.tag}"
    assert (await _final(caller, edge, "BYE", to=to)).status == 481
    assert edge.app.records.copy_of(call.call_id) is not None


async def test_a_request_out_of_order_gets_500(edge: TestEdge, caller: Caller) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    assert (await call.ask("INFO", edge.sip)).status == 200
    late = call.next("INFO")
    late.headers.set("CSeq", "1 INFO")
    caller.send(late, edge.sip)
    assert (await caller.response(late)).status == 500


async def test_info_with_a_body_gets_415_and_notify_of_nothing_489(edge: TestEdge, caller: Caller) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    refusal = await call.ask("INFO", edge.sip, body=b"Signal=5")
    accepted = "application/dtmf-relay, application/dtmf"
    assert (refusal.status, refusal.headers.get("Accept")) == (415, accepted)
    assert (await call.ask("PRACK", edge.sip, headers=(("RAck", "1 1 INVITE"),))).status == 481
    assert (await call.ask("NOTIFY", edge.sip, headers=(("Event", "presence"),))).status == 489
    assert (await call.ask("REFER", edge.sip)).status == 405


async def test_stray_acks_and_responses_are_dropped(edge: TestEdge, caller: Caller) -> None:
    caller.send(caller.request("ACK", to="<sip:x@y>;tag=" + "a" * 32), edge.sip)
    stray = serialize(caller.request("OPTIONS")).replace(
        b"OPTIONS sip:bot@127.0.0.1 SIP/2.0", b"SIP/2.0 200 OK"
    )
    caller.send(stray, edge.sip)
    caller.send(b"\x00\xff not sip at all", edge.sip)
    assert (await _final(caller, edge, "OPTIONS")).status == 200


async def test_a_cancel_of_nothing_gets_481(edge: TestEdge, caller: Caller) -> None:
    refusal = await _final(caller, edge, "CANCEL")
    assert refusal.status == 481
    assert refusal.to.tag  # RFC 3261 §8.2.6.2


async def test_an_address_is_a_place_to_answer(edge: TestEdge, caller: Caller) -> None:
    """RFC 3581: with rport the response goes to the source of the request, whatever Via says."""
    request = caller.request("OPTIONS", via="SIP/2.0/UDP 192.0.2.99:1;rport;branch=z9hG4bKnat")
    caller.send(request, Address("UDP", edge.sip.host, edge.sip.port))
    ok = await caller.response(request)
    assert (ok.via.received, ok.via.rport) == ("127.0.0.1", caller.port)


async def test_more_calls_than_are_set_up_get_503_and_the_others_go_on(
    start_edge, caller: Caller, registry: FakeRegistry
) -> None:
    edge = await start_edge(limits=EdgeLimits(window=SetupWindowLimits(least=2, most=2)))
    async with registry.paused():
        taken = [caller.invite(), caller.invite()]
        for invite in taken:
            caller.send(invite, edge.sip)
            await caller.response(invite, 100)
        late = caller.invite()
        caller.send(late, edge.sip)
        refusal = await caller.response(late)
        assert (refusal.status, refusal.reason) == (503, "Overloaded")
        assert refusal.headers.get("Retry-After") == "2"
        ack_failure(caller, late, refusal, edge.sip)
    assert [(await caller.response(invite)).status for invite in taken] == [200, 200]
    again = caller.invite()
    caller.send(again, edge.sip)
    assert (await caller.response(again)).status == 200  # answered calls take none of the set-up window


async def test_media_on_the_last_port_have_no_rtcp_and_are_served(
    edge: TestEdge, caller: Caller, relay: FakeRelay
) -> None:
    sdp = SDP.replace(b"m=audio 40000", b"m=audio 65535")
    call = await CallerDialog.established(caller, edge.sip, sdp=sdp)
    media = relay.sessions[call.call_id].media
    assert (media.remote_rtp_port, media.remote_rtcp_port) == (65535, 0)


async def test_an_offer_that_no_relay_can_serve_gets_488_and_not_500(
    edge: TestEdge, caller: Caller, relay: FakeRelay
) -> None:
    relay.refuse_allocate = relay_api.COMMAND_STATUS_INVALID
    invite = caller.invite()
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert (refusal.status, bool(refusal.headers.get("Warning"))) == (488, True)


async def test_a_message_that_is_too_large_gets_a_513_that_its_sender_knows(
    edge: TestEdge, caller: Caller
) -> None:
    request = caller.request("OPTIONS")
    start, _, rest = serialize(request).partition(b"\r\n")
    caller.send(start + b"\r\n" + b"X-Filler: x\r\n" * 3000 + rest, edge.sip)
    refusal = await caller.response(request)
    assert (refusal.status, refusal.call_id, refusal.from_.tag) == (513, request.call_id, request.from_.tag)
    assert refusal.to.tag
