"""Two edges serve one call: each of its messages reaches the other edge, with the first alive and with it
dead.
"""

import pytest

from edge_kit.caller import HELD_SDP, SDP, Caller, CallerDialog, ack_failure
from edge_kit.edges import TestEdge, eventually
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.runtime.settings import Identity
from sipgw.sip import SipRequest, make_ack, make_response, serialize


@pytest.fixture
async def a(start_edge) -> TestEdge:
    return await start_edge("edge-a")


@pytest.fixture
async def b(start_edge, a: TestEdge) -> TestEdge:
    edge = await start_edge("edge-b")
    await edge.until(lambda: len(edge.app.edges.live) == 1)
    await a.until(lambda: len(a.app.edges.live) == 1)
    return edge


async def record(edge: TestEdge, call_id: str) -> calls.CallSession:
    record = await edge.app.records.load(call_id)
    assert record is not None
    return record


async def until_state(edge: TestEdge, call_id: str, state: int) -> calls.CallSession:
    async def is_reached() -> bool:
        return (await record(edge, call_id)).state == state

    await eventually(is_reached)
    return await record(edge, call_id)


async def established(caller: Caller, a: TestEdge) -> CallerDialog:
    call = await CallerDialog.established(caller, a.sip)
    await until_state(a, call.call_id, calls.CALL_STATE_ESTABLISHED)
    return call


async def ringing(relay: FakeRelay, caller: Caller, a: TestEdge) -> tuple[SipRequest, CallerDialog]:
    relay.bot_ready = False
    invite = caller.invite()
    caller.send(invite, a.sip)
    return invite, CallerDialog(caller, invite, await caller.response(invite, 180))


# ---- the first edge is alive


async def test_an_ack_to_the_other_edge_reaches_the_owner(a: TestEdge, b: TestEdge, caller: Caller) -> None:
    call = await CallerDialog.answered(caller, a.sip)
    call.ack(b.sip)
    record = await until_state(b, call.call_id, calls.CALL_STATE_ESTABLISHED)
    assert record.owner.name == "edge-a"
    assert not a.app.responses.acked(call.call_id, 1), "the owner would go on repeating its 200"


async def test_a_cancel_to_the_other_edge_ends_the_invite(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite, call = await ringing(relay, caller, a)
    cancel = call.cancel()
    caller.send(cancel, b.sip)
    assert (await caller.response(cancel)).status == 200
    final = await caller.response(invite)
    assert final.status == 487
    ack_failure(caller, invite, final, a.sip)
    ended = await until_state(b, call.call_id, calls.CALL_STATE_ENDED)
    assert ended.end_cause == calls.END_CAUSE_CALLER_CANCELLED
    assert relay.sessions == {}


async def test_an_ack_of_a_failure_to_the_other_edge_stops_its_copies(
    a: TestEdge, b: TestEdge, caller: Caller
) -> None:
    invite = caller.invite(sdp=SDP.replace(b"RTP/AVP 0 8 101", b"RTP/AVP 18"))
    caller.send(invite, a.sip)
    final = await caller.response(invite)
    assert final.status == 488
    ack_failure(caller, invite, final, b.sip)
    await a.until(lambda: not a.app.sip.awaits_ack(make_ack(invite, final)))


async def test_a_repeated_invite_to_the_other_edge_gets_the_same_answer_and_no_second_call(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite, call = await ringing(relay, caller, a)
    before = caller.count(invite, 180)
    for copies in (1, 2):
        caller.send(invite, b.sip)
        await b.until(lambda copies=copies: caller.count(invite, 180) == before + copies)
    assert len(relay.sessions) == 1
    relay.emit(call.call_id, bot_ready=relay_api.BotReady(confirmed=True))
    assert (await caller.response(invite, 200)).to.tag == call.ok.to.tag


async def test_a_reinvite_and_its_ack_to_the_other_edge(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    ok = await call.ask("INVITE", b.sip, body=HELD_SDP)
    assert ok.status == 200
    assert b"a=recvonly" in ok.body
    call.ack(b.sip, cseq=ok.cseq.number)
    assert relay.sessions[call.call_id].media.direction == relay_api.MEDIA_DIRECTION_RECVONLY
    # And back at the owner, which has not heard of it.
    ok = await call.ask("INVITE", a.sip, body=SDP.replace(b"o=- 1 1", b"o=- 1 3"))
    assert ok.status == 200
    call.ack(a.sip, cseq=ok.cseq.number)
    assert relay.sessions[call.call_id].media.direction == relay_api.MEDIA_DIRECTION_SENDRECV


async def test_a_reinvite_to_one_edge_and_its_ack_to_the_other(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    reinvite = call.next("INVITE", body=HELD_SDP)
    caller.send(reinvite, b.sip)
    ok = await caller.response(reinvite)
    call.ack(a.sip, cseq=ok.cseq.number)
    await a.until(lambda: not b.app.responses.is_waiting(call.call_id))
    assert (await record(b, call.call_id)).legs[0].invite.ack_seen
    assert not [one for one in caller.requests if one.method == "BYE"]


async def test_a_reinvite_repeated_to_the_owner_is_answered_as_the_other_edge_did(
    a: TestEdge, b: TestEdge, caller: Caller
) -> None:
    call = await established(caller, a)
    reinvite = call.next("INVITE", body=HELD_SDP)
    caller.send(reinvite, b.sip)
    ok = await caller.response(reinvite)
    copies = caller.count(reinvite, 200)
    caller.send(reinvite, a.sip)
    await a.until(lambda: caller.count(reinvite, 200) > copies)
    assert all(one.body == ok.body for one in caller.responses if one.cseq == ok.cseq and one.status == 200)
    assert not [one for one in caller.responses if one.status == 500]


async def test_an_answer_in_an_ack_to_the_other_edge(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    ok = await call.ask("INVITE", b.sip)
    call.ack(a.sip, cseq=ok.cseq.number, body=SDP.replace(b"198.51.100.7", b"198.51.100.9"))
    await a.until(lambda: relay.sessions[call.call_id].media.remote_address == "198.51.100.9")


async def test_a_bye_to_the_other_edge_ends_the_call_for_both(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    assert (await call.ask("BYE", b.sip)).status == 200
    await until_state(b, call.call_id, calls.CALL_STATE_ENDED)
    await a.until(lambda: not len(a.app.live))
    assert relay.sessions == {}
    assert not [one for one in caller.requests if one.method == "BYE"]


async def test_the_answer_to_a_request_of_ours_may_come_to_the_other_edge(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    caller.answer_requests = False
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup())
    bye = await caller.peer_request("BYE")
    caller.send(make_response(bye, 200), b.sip)
    await until_state(b, call.call_id, calls.CALL_STATE_ENDED)


async def test_an_end_reported_to_the_wrong_edge_is_served_all_the_same(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    """A relay may take any command for a change of owner, and send events to the edge of the last command."""
    call = await established(caller, a)
    event = relay_api.MediaEvent(call_id=call.call_id, bot_hangup=relay_api.BotHangup(reason="done"))
    await b.app.events.handle(Identity(relay.name, relay.incarnation), event)
    await caller.peer_request("BYE")
    ended = await until_state(b, call.call_id, calls.CALL_STATE_ENDED)
    assert ended.end_cause == calls.END_CAUSE_BOT_HANGUP
    await a.until(lambda: not len(a.app.live))


# ---- the first edge is dead


async def test_an_ack_after_the_edges_death(a: TestEdge, b: TestEdge, caller: Caller) -> None:
    call = await CallerDialog.answered(caller, a.sip)
    await a.kill()
    call.ack(b.sip)
    await until_state(b, call.call_id, calls.CALL_STATE_ESTABLISHED)
    await b.until(lambda: b.app.records.copy_of(call.call_id) is not None)
    assert not [one for one in caller.requests if one.method == "BYE"]


async def test_a_cancel_after_the_edges_death(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite, call = await ringing(relay, caller, a)
    await a.kill()
    cancel = call.cancel()
    caller.send(cancel, b.sip)
    assert (await caller.response(cancel)).status == 200
    final = await caller.response(invite)
    assert final.status == 487
    assert (final.to.tag or "")[:32] == call.call_id
    await until_state(b, call.call_id, calls.CALL_STATE_ENDED)
    assert relay.sessions == {}


async def test_a_repeated_invite_after_the_edges_death_is_answered_from_the_record(
    a: TestEdge, b: TestEdge, caller: Caller
) -> None:
    call = await CallerDialog.answered(caller, a.sip)
    await a.kill()
    copies = caller.count(call.invite, 200)
    caller.send(serialize(call.invite), b.sip)
    await b.until(lambda: caller.count(call.invite, 200) > copies)
    call.ack(b.sip)
    await until_state(b, call.call_id, calls.CALL_STATE_ESTABLISHED)


async def test_a_reinvite_after_the_edges_death(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    await a.kill()
    ok = await call.ask("INVITE", b.sip, body=HELD_SDP)
    assert ok.status == 200
    call.ack(b.sip, cseq=ok.cseq.number)
    assert relay.sessions[call.call_id].media.direction == relay_api.MEDIA_DIRECTION_RECVONLY


async def test_a_bye_after_the_edges_death(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    await a.kill()
    assert (await call.ask("BYE", b.sip)).status == 200
    await until_state(b, call.call_id, calls.CALL_STATE_ENDED)
    assert relay.sessions == {}


async def test_the_other_edge_claims_the_call_and_hears_its_media_events(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    await a.kill()
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup(reason="while nobody listened"))
    bye = await caller.peer_request("BYE", within_s=12)
    assert (bye.via.branch or "").startswith("z9hG4bK-edge-b-")
    ended = await until_state(b, call.call_id, calls.CALL_STATE_ENDED)
    assert (ended.end_cause, ended.owner_epoch) == (calls.END_CAUSE_BOT_HANGUP, 2)
    assert "adopt" in relay.commands(call.call_id)


async def test_a_ringing_call_is_answered_by_the_edge_that_claims_it(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite, call = await ringing(relay, caller, a)
    await a.kill()
    relay.emit(call.call_id, bot_ready=relay_api.BotReady(confirmed=True))
    await b.until(lambda: caller.count(invite, 200) > 0)
    ok = await caller.response(invite, 200)
    assert ok.to.tag == call.ok.to.tag
    answered = CallerDialog(caller, invite, ok)
    answered.ack(b.sip)
    await until_state(b, call.call_id, calls.CALL_STATE_ESTABLISHED)
    assert (await answered.ask("BYE", b.sip)).status == 200


async def test_an_edge_claims_a_call_once(a: TestEdge, b: TestEdge, caller: Caller) -> None:
    """Two tasks of the edge may find the same call of a dead edge."""
    call = await established(caller, a)
    taken = await record(b, call.call_id)
    assert await b.app.records.claim(taken) is not None
    assert await b.app.records.claim(taken) is None
    claimed = await record(b, call.call_id)
    assert await b.app.records.claim(claimed) is None
    assert claimed.owner_epoch == 2


async def test_a_frozen_edge_that_wakes_does_nothing_about_a_call_that_was_claimed(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    taken = await record(b, call.call_id)
    claimed = await b.app.records.claim(taken)
    assert claimed is not None
    live = b.app.resumption.take_up(claimed)
    await b.app.resumption.go_on(live, claimed)
    # A's timers still run: their work finds another owner in the record.
    stale = a.app.records.copy_of(call.call_id)
    assert stale is not None
    await a.app.deadlines.obey(stale)
    assert a.app.records.copy_of(call.call_id) is None
    assert not len(a.app.live)
    assert (await record(b, call.call_id)).state == calls.CALL_STATE_ESTABLISHED
    assert "release" not in relay.commands(call.call_id)
