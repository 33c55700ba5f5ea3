"""Callers whose messages break the grammar where nothing is routed or secured: their calls are served."""

import secrets

import pytest

from edge_kit.caller import SDP, Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_relay import FakeRelay
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.sip import SipRequest

ODD_HEADERS = [
    {"from_": '""unknown"" <sip:+4930000001@127.0.0.1>;tag={tag}'},
    {"from_": '"Anonymous" sip:anonymous@gw.e164;tag={tag}'},
    {"from_": 'O"Brien, X <sip:+4930000001@127.0.0.1>;tag={tag};'},
    {"from_": "<sip:@sbc.example>;tag={tag}"},
    {"from_": "<anonymous@anonymous.invalid>;tag={tag}"},
    {"from_": "<sip:+4930000001@127.0.0.1>"},
    {"from_": "<sip:+4930000001@127.0.0.1>;tag="},
    {"to": "<sip:@sbc.example>"},
    {"to": '"x;tag=1" <sip:bot@127.0.0.1>;'},
    {"contact": "<sip:@{me}>"},
    {"contact": "<sip:alice@{me};transport=udp;>"},
    {"contact": '<sip:alice@{me};transport=udp;thinfo="Vkc+=">'},
    {"contact": 'Bell, A <sip:alice@{me}>;+sip.instance="<urn:x>";'},
    {"contact": None, "from_": "<sip:alice@{me}>"},
    {"headers": [("Accept", '"x'), ("P-Asserted-Identity", '"x <sip:'), ("Supported", '"')]},
]


def filled(fields: dict[str, object], caller: Caller) -> dict[str, object]:
    """Put the caller's address and a tag into header values."""
    me, tag = f"{caller.host}:{caller.port}", secrets.token_hex(4)
    return {
        name: value.format(me=me, tag=tag) if isinstance(value, str) else value
        for name, value in fields.items()
    }


async def bye_of(edge: TestEdge, relay: FakeRelay, caller: Caller, call: CallerDialog) -> SipRequest:
    """Have the bot hang up; give the BYE that reaches the caller."""
    await edge.until(lambda: "acknowledge" in relay.commands(call.call_id))
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup(reason="done"))
    await edge.until(lambda: any(one.call_id == call.invite.call_id for one in caller.requests))
    (bye,) = {one.via.branch: one for one in caller.requests if one.call_id == call.invite.call_id}.values()
    assert bye.method == "BYE"
    return bye


@pytest.mark.parametrize("fields", ODD_HEADERS, ids=lambda fields: next(iter(fields)))
async def test_a_header_that_is_only_copied_costs_no_call(
    edge: TestEdge, relay: FakeRelay, caller: Caller, fields: dict[str, object]
) -> None:
    call = await CallerDialog.established(caller, edge.sip, **filled(fields, caller))
    assert (await call.ask("OPTIONS", edge.sip)).status == 200
    bye = await bye_of(edge, relay, caller, call)
    assert call.dialog.matches(bye)
    if (contact := call.invite.contact) is not None:
        assert bye.uri == contact.uri


async def test_a_caller_without_a_tag_cancels_and_hangs_up(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    """Its tag is null in the dialog (RFC 3261 §12.1.1)."""
    relay.bot_ready = False
    fields = {"from_": "<sip:alice@127.0.0.1>"}
    invite = caller.invite(**fields)
    caller.send(invite, edge.sip)
    ringing = CallerDialog(caller, invite, await caller.response(invite, 180))
    cancel = ringing.cancel()
    caller.send(cancel, edge.sip)
    assert (await caller.response(cancel)).status == 200
    assert (await caller.response(invite)).status == 487

    relay.bot_ready = True
    call = await CallerDialog.established(caller, edge.sip, **fields)
    assert (await call.ask("BYE", edge.sip)).status == 200


async def test_an_odd_200_to_our_bye_ends_it(edge: TestEdge, relay: FakeRelay, caller: Caller) -> None:
    """Responses are found by Via, Call-ID and CSeq; their other headers cost nothing."""
    call = await CallerDialog.established(caller, edge.sip)
    caller.answer_requests = False
    bye = await bye_of(edge, relay, caller, call)
    lines = (
        "SIP/2.0 200 OK",
        f"Via: {bye.via}",
        'From: ""x"" <>;tag=y',
        f"To: a,b <sip:>;tag={bye.to.tag};",
        f"Call-ID: {bye.call_id}",
        f"CSeq: {bye.cseq}",
        "Contact: <nobody>",
        "Max-Forwards: none",
        "a line that is none",
        "Content-Length: 0",
    )
    caller.send("\r\n".join((*lines, "", "")).encode(), edge.sip)
    await edge.until(lambda: edge.app.records.copy_of(call.call_id) is None)


ODD_OFFERS = {
    "blanks": SDP.replace(b"\r\n", b" \r\n"),
    "NULs": SDP.replace(b"\r\n", b"\0\r\n") + b"\0",
    "5 words": SDP.replace(b"o=- 1 1 IN", b"o=1 1 IN"),
    "8 words": SDP.replace(b"o=- 1 1 IN", b"o=A B C 1 1 IN"),
    "no o=": SDP.replace(b"o=- 1 1 IN IP4 198.51.100.7\r\n", b""),
    "no line": SDP.replace(b"a=ptime", b"what is this\r\n\r\na=ptime"),
    "video": SDP + b"m=video x RTP/AVP\r\nc=IN\r\n",
}


@pytest.mark.parametrize("offer", ODD_OFFERS.values(), ids=ODD_OFFERS)
async def test_an_sdp_line_that_is_not_needed_costs_no_call(
    edge: TestEdge, relay: FakeRelay, caller: Caller, offer: bytes
) -> None:
    call = await CallerDialog.established(caller, edge.sip, sdp=offer)
    media = relay.sessions[call.call_id].media
    assert (media.remote_address, media.remote_rtp_port) == ("198.51.100.7", 40000)
    assert media.HasField("telephone_event")
    assert call.ok.body.count(b"m=") == offer.count(b"m=")


@pytest.mark.parametrize(
    "direction", [b"a=sendonly ", b"a=sendonly\t", b"a=sendonly\0", b"a= sendonly", b"a=SendOnly:"]
)
async def test_a_hold_counts_however_its_line_ends(
    edge: TestEdge, relay: FakeRelay, caller: Caller, direction: bytes
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: "acknowledge" in relay.commands(call.call_id))
    ok = await call.ask("INVITE", edge.sip, body=SDP.replace(b"a=sendrecv", direction))
    assert b"a=recvonly" in ok.body
    assert relay.sessions[call.call_id].media.direction == relay_api.MEDIA_DIRECTION_RECVONLY
