"""Offers within a call: hold and resume, codec change, no offer, crossing offers (RFC 3261 §14, RFC 3264)."""

import asyncio

from edge_kit.caller import HELD_SDP, SDP, Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay_api


def leg_of(edge: TestEdge, call: CallerDialog) -> calls.Leg:
    record = edge.app.records.copy_of(call.call_id)
    assert record is not None
    return record.legs[0]


async def established(edge: TestEdge, caller: Caller, **fields: object) -> CallerDialog:
    call = await CallerDialog.established(caller, edge.sip, **fields)
    await edge.until(lambda: leg_of(edge, call).invite.ack_seen)
    return call


async def reinvite(call: CallerDialog, edge: TestEdge, body: bytes) -> tuple[int, bytes]:
    ok = await call.ask("INVITE", edge.sip, body=body)
    if ok.status == 200:
        call.ack(edge.sip, cseq=ok.cseq.number)
        await edge.until(lambda: leg_of(edge, call).invite.ack_seen)
    return ok.status, ok.body


async def test_hold_is_answered_recvonly_and_resume_sendrecv(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    status, body = await reinvite(call, edge, HELD_SDP)
    assert status == 200
    assert b"a=recvonly" in body
    assert leg_of(edge, call).on_hold
    assert relay.sessions[call.call_id].media.direction == relay_api.MEDIA_DIRECTION_RECVONLY

    status, body = await reinvite(call, edge, SDP.replace(b"o=- 1 1", b"o=- 1 3"))
    assert b"a=sendrecv" in body
    assert not leg_of(edge, call).on_hold
    assert relay.sessions[call.call_id].media.direction == relay_api.MEDIA_DIRECTION_SENDRECV
    await edge.until(lambda: relay.commands(call.call_id)[-1] == "acknowledge")
    changes = ["modify", "acknowledge"]
    assert relay.commands(call.call_id) == ["allocate", "start", "acknowledge", *changes, *changes]


async def test_our_descriptions_version_rises_with_each_change(edge: TestEdge, caller: Caller) -> None:
    call = await established(edge, caller)
    origin = call.ok.body.split(b"\r\n")[1].split()
    _, body = await reinvite(call, edge, HELD_SDP)
    changed = body.split(b"\r\n")[1].split()
    assert changed[1] == origin[1]
    assert int(changed[2]) == int(origin[2]) + 1


async def test_a_refresh_with_the_same_offer_touches_no_media(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    status, body = await reinvite(call, edge, SDP)
    assert (status, body) == (200, call.ok.body)
    assert "modify" not in relay.commands(call.call_id)


async def test_codec_and_address_change(edge: TestEdge, relay: FakeRelay, caller: Caller) -> None:
    call = await established(edge, caller)
    moved = SDP.replace(b"RTP/AVP 0 8 101", b"RTP/AVP 8").replace(b"198.51.100.7", b"198.51.100.8")
    status, body = await reinvite(call, edge, moved)
    assert status == 200
    assert b"RTP/AVP 8\r\n" in body
    media = relay.sessions[call.call_id].media
    assert (media.codec, media.remote_address) == (config.AUDIO_CODEC_PCMA, "198.51.100.8")
    assert not media.HasField("telephone_event")


async def test_an_offer_that_fits_nothing_gets_488_and_the_call_goes_on(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    status, _ = await reinvite(call, edge, SDP.replace(b"RTP/AVP 0 8 101", b"RTP/AVP 18"))
    assert status == 488
    assert "modify" not in relay.commands(call.call_id)
    assert (await reinvite(call, edge, HELD_SDP))[0] == 200


async def test_a_reinvite_without_offer_gets_ours_and_the_ack_brings_the_answer(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    ok = await call.ask("INVITE", edge.sip)
    assert b"m=audio 20000 RTP/AVP 0 8 101" in ok.body
    assert (await call.ask("UPDATE", edge.sip, body=HELD_SDP)).status == 491  # our offer is pending
    call.ack(edge.sip, cseq=ok.cseq.number, body=SDP.replace(b"198.51.100.7", b"198.51.100.9"))
    await edge.until(lambda: relay.sessions[call.call_id].media.remote_address == "198.51.100.9")
    assert leg_of(edge, call).offer_pending == calls.OFFER_PENDING_UNSPECIFIED


async def test_our_offer_within_a_call_keeps_its_streams_and_payload_types(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    """As many m= lines as agreed, refused ones at port 0, no number of another meaning (RFC 3264 §8.3.2)."""
    first = (
        SDP.replace(
            b"m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101", b"m=audio 40000 RTP/AVP 8 96\r\na=rtpmap:96"
        )
        .replace(b"m=audio", b"m=audio 5 RTP/SAVP 0\r\nm=audio")
        .replace(b"a=sendrecv", b"a=sendonly")
        + b"m=image 40002 udptl t38\r\n"
    )
    call = await established(edge, caller, sdp=first)
    ok = await call.ask("INVITE", edge.sip)
    lines = ok.body.decode().split("\r\n")
    assert [line for line in lines if line.startswith("m=")] == [
        "m=audio 0 RTP/SAVP 0",
        "m=audio 20000 RTP/AVP 8 0 96",
        "m=image 0 udptl t38",
    ]
    assert "a=rtpmap:96 telephone-event/8000" in lines
    assert "a=sendrecv" in lines  # hold is the peer's to say again (RFC 6337 §5.3)
    answer = first.replace(b"m=audio 5", b"m=audio 0").replace(b"40002", b"0").replace(b"8 96", b"0 96")
    call.ack(edge.sip, cseq=ok.cseq.number, body=answer)
    await edge.until(lambda: relay.sessions[call.call_id].media.codec == config.AUDIO_CODEC_PCMU)
    media = relay.sessions[call.call_id].media
    assert (media.telephone_event.send_payload_type, media.telephone_event.receive_payload_type) == (96, 96)
    assert (await reinvite(call, edge, HELD_SDP))[0] == 200


async def test_an_invite_without_offer_gets_ours_in_the_200(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite = caller.request("INVITE")
    caller.send(invite, edge.sip)
    ok = await caller.response(invite, 200)
    assert b"m=audio 20000 RTP/AVP 0 8 101" in ok.body
    call = CallerDialog(caller, invite, ok)
    assert relay.sessions[call.call_id].media.remote_address == ""
    call.ack(edge.sip, body=SDP.replace(b"RTP/AVP 0 8 101", b"RTP/AVP 8"))
    await edge.until(lambda: relay.sessions[call.call_id].media.remote_address == "198.51.100.7")
    assert relay.sessions[call.call_id].media.codec == config.AUDIO_CODEC_PCMA


async def test_an_ack_without_the_answer_it_owes_ends_the_call(edge: TestEdge, caller: Caller) -> None:
    invite = caller.request("INVITE")
    caller.send(invite, edge.sip)
    call = CallerDialog(caller, invite, await caller.response(invite, 200))
    call.ack(edge.sip)
    assert await caller.peer_request("BYE")


async def test_an_answer_in_the_ack_that_the_relay_refuses_ends_the_call(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    relay.refuse_modify = relay_api.COMMAND_STATUS_INVALID
    invite = caller.request("INVITE")
    caller.send(invite, edge.sip)
    call = CallerDialog(caller, invite, await caller.response(invite, 200))
    call.ack(edge.sip, body=SDP)
    assert await caller.peer_request("BYE")


async def test_two_reinvites_at_once_only_one_is_served(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    """RFC 3261 §14.2: the second gets 500 with Retry-After, unless it arrives after the first is done."""
    call = await established(edge, caller)
    first, second = call.next("INVITE", body=HELD_SDP), call.next("INVITE", body=SDP)
    caller.send(first, edge.sip)
    caller.send(second, edge.sip)
    answers = await asyncio.gather(caller.response(first), caller.response(second))
    assert sorted(one.status for one in answers) in ([200, 500], [200, 200])
    for one in answers:
        if one.status == 500:
            assert one.headers.get("Retry-After")


async def test_a_reinvite_before_the_answer_gets_491(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    relay.bot_ready = False
    invite = caller.invite()
    caller.send(invite, edge.sip)
    call = CallerDialog(caller, invite, await caller.response(invite, 180))
    assert (await call.ask("INVITE", edge.sip, body=HELD_SDP)).status == 491


async def test_an_update_changes_media_without_an_ack(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    ok = await call.ask("UPDATE", edge.sip, body=HELD_SDP)
    assert ok.status == 200
    assert b"a=recvonly" in ok.body
    assert leg_of(edge, call).on_hold
    assert (await call.ask("UPDATE", edge.sip)).status == 200


async def test_a_relay_that_does_not_answer_a_modify_leaves_the_call_as_it_was(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    await relay.stop()
    status, _ = await reinvite(call, edge, HELD_SDP)
    assert status == 500
    assert not leg_of(edge, call).on_hold
    assert leg_of(edge, call).offer_pending == calls.OFFER_PENDING_UNSPECIFIED


async def test_hold_of_the_old_kind(edge: TestEdge, relay: FakeRelay, caller: Caller) -> None:
    call = await established(edge, caller)
    status, _ = await reinvite(call, edge, SDP.replace(b"IN IP4 198.51.100.7\r\nt=", b"IN IP4 0.0.0.0\r\nt="))
    assert status == 200
    assert leg_of(edge, call).on_hold
