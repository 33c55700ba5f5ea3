"""SDP beside other parts (RFC 5621), wherever a description comes: INVITE, re-INVITE, ACK, UPDATE."""

import pytest

from edge_kit.caller import HELD_SDP, SDP, Caller, CallerDialog, ack_failure
from edge_kit.edges import TestEdge
from edge_kit.fake_relay import FakeRelay
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.sip import SipRequest

MIXED = 'multipart/mixed; boundary="b1"'


def mixed(sdp: bytes, disposition: str = "signal;handling=optional") -> bytes:
    return (
        b"--b1\r\nContent-Type: application/isup;version=etsi121\r\nContent-Disposition: "
        + disposition.encode()
        + b"\r\n\r\n\x01\x00\x60\x01\x0a\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n"
        + sdp
        + b"\r\n--b1--\r\n"
    )


def with_body(request: SipRequest, sdp: bytes) -> SipRequest:
    """The request with a multipart body in place of its SDP."""
    headers = request.headers.copy()
    headers.set("Content-Type", MIXED)
    return SipRequest(request.method, request.uri, headers, mixed(sdp))


async def test_sdp_among_other_parts_makes_and_changes_a_call(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite = with_body(caller.invite(), SDP)
    caller.send(invite, edge.sip)
    call = CallerDialog(caller, invite, await caller.response(invite, 200))
    call.ack(edge.sip)
    await edge.until(lambda: "acknowledge" in relay.commands(call.call_id))
    assert relay.sessions[call.call_id].media.remote_address == "198.51.100.7"
    assert call.ok.content_type == "application/sdp"

    for method in ("INVITE", "UPDATE"):
        request = with_body(call.next(method), HELD_SDP)
        caller.send(request, edge.sip)
        ok = await caller.response(request)
        assert (ok.status, b"a=recvonly" in ok.body) == (200, True)
        if method == "INVITE":
            call.ack(edge.sip, cseq=ok.cseq.number)

    ok = await call.ask("INVITE", edge.sip)
    answer = SDP.replace(b"RTP/AVP 0 8 101", b"RTP/AVP 8")
    ack = with_body(call.dialog.ack(caller.via, ok.cseq.number), answer)
    caller.send(ack, edge.sip)
    await edge.until(lambda: relay.sessions[call.call_id].media.codec == config.AUDIO_CODEC_PCMA)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (mixed(SDP, "signal;handling=required"), MIXED, 415),
        (b"no part", MIXED, 400),
        (SDP, "multipart/mixed", 400),
        (mixed(b"v=0\r\nnot sdp"), MIXED, 400),
    ],
)
async def test_what_has_to_be_read_and_cannot_be_refuses_the_call(
    edge: TestEdge, caller: Caller, body: bytes, content_type: str, status: int
) -> None:
    invite = caller.request("INVITE", body=body, content_type=content_type)
    caller.send(invite, edge.sip)
    final = await caller.response(invite)
    ack_failure(caller, invite, final, edge.sip)
    assert final.status == status
    if status == 415:
        assert final.headers.get("Accept") == "application/sdp"
