"""Two edges serve one call: it begins at edge 0, and edge 1 serves each method."""

import asyncio
import re

import pytest
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone
from gatewaykit.rtp import echoed_share, noise

pytestmark = pytest.mark.system


async def test_the_ack_at_the_other_edge_stops_the_200(gateway: Gateway, phone: Phone) -> None:
    call = await phone.new_call("builtin", gateway.sip(0))
    await call.invite(ack=False)
    call.acks_repeats = False
    call.ack(gateway.sip(1))
    await asyncio.sleep(1.8)
    repeats = [message for message in call.seen if message.status == 200 and message.method == "INVITE"]
    assert len(repeats) <= 2, f"the 200 came {len(repeats)} times"
    call.destination = gateway.sip(0)
    assert (await call.bye()).status == 200


async def test_the_bye_at_the_other_edge_ends_the_call(gateway: Gateway, phone: Phone) -> None:
    call = await phone.call("builtin", gateway.sip(0))
    call.destination = gateway.sip(1)
    assert (await call.bye()).status == 200

    async def is_gone() -> bool:
        return call.call_id not in {summary.sip_call_id for summary in await gateway.calls()}

    await eventually(is_gone, 3)
    before = len(call.rtp.received)
    await call.rtp.stream(noise(0.4, seed=19), call.media)
    assert len(call.rtp.received) == before, "the relay still serves the call"


async def test_a_retransmitted_invite_at_the_other_edge_gets_the_same_answer_and_makes_no_second_call(
    gateway: Gateway, phone: Phone
) -> None:
    call = await phone.new_call("builtin", gateway.sip(0))
    answer = await call.invite(ack=False)
    call.acks_repeats = False
    invite = call.request("INVITE", call.offer(), branch=call.branch)
    invite = re.sub(rb"^INVITE \S+", b"INVITE sip:builtin@127.0.0.1:%d" % call.destination[1], invite)
    invite = re.sub(rb"To: [^\r]+", b"To: <sip:builtin@127.0.0.1>", invite)
    before = len(call.seen)
    call.send(invite, gateway.sip(1))

    async def is_answered() -> bool:  # RFC 6026 §8.5: the call's owner repeats the 200 by a timer of its own
        return any(message.status == 200 and message.method == "INVITE" for message in call.seen[before:])

    await eventually(is_answered, 5)
    assert {m.tag("to") for m in call.seen if m.status == 200} == {answer.tag("to")}
    same = [summary for summary in await gateway.calls() if summary.sip_call_id == call.call_id]
    assert len(same) == 1
    call.ack()
    assert (await call.bye()).status == 200


async def test_the_cancel_at_the_other_edge_stops_the_ringing(gateway: Gateway, phone: Phone) -> None:
    call = await phone.new_call("ringing", gateway.sip(0))
    inviting = asyncio.create_task(call.invite())
    await call.until(180)
    call.destination = gateway.sip(1)
    cancelled = await call.cancel()
    assert cancelled.status == 200
    call.destination = gateway.sip(0)
    assert (await inviting).status == 487


async def test_a_reinvite_at_the_other_edge_holds_and_resumes_the_same_media(
    gateway: Gateway, phone: Phone
) -> None:
    call = await phone.call("builtin", gateway.sip(0))
    media = call.media
    call.destination = gateway.sip(1)
    held = await call.reinvite("sendonly")
    assert b"a=recvonly" in held.body
    call.destination = gateway.sip(0)
    await call.reinvite("sendrecv")
    assert call.media == media
    audio = noise(1.5, seed=20)
    call.rtp.received.clear()
    await call.rtp.stream(audio, call.media)
    assert echoed_share(audio, call.rtp.audio())[0] >= 0.6
    call.destination = gateway.sip(1)
    assert (await call.bye()).status == 200


async def test_an_invite_with_another_branch_and_the_same_cseq_is_a_loop(
    gateway: Gateway, phone: Phone
) -> None:
    call = await phone.new_call("builtin", gateway.sip(0))
    await call.invite(ack=False)
    call.acks_repeats = False
    merged = call.request("INVITE", call.offer())
    merged = re.sub(rb"^INVITE \S+", b"INVITE sip:builtin@127.0.0.1:%d" % call.destination[1], merged)
    merged = re.sub(rb"To: [^\r]+", b"To: <sip:builtin@127.0.0.1>", merged)
    call.send(merged, gateway.sip(1))
    await call.until(482)
    call.ack()
    assert (await call.bye()).status == 200


async def test_calls_at_both_edges_are_one_list(gateway: Gateway, phone: Phone) -> None:
    calls = [await phone.call("builtin", gateway.sip(number % 2)) for number in range(4)]
    wanted = {call.call_id for call in calls}

    async def all_listed() -> bool:
        return wanted <= {summary.sip_call_id for summary in await gateway.calls()}

    await eventually(all_listed, 3)
    owners = {c.owner.name for c in await gateway.calls() if c.sip_call_id in wanted}
    assert owners == {"edge-0", "edge-1"}
