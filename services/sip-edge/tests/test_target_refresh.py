"""An edge that claims calls from another address gives their callers its Contact, and changes
nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from edge_kit.caller import HELD_SDP, SDP, Caller, CallerDialog
from edge_kit.edges import TestEdge, eventually
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from edge_kit.standing_calls import copy_of, established, relay_of
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1.control_pb2 import MediaSpec
from sipgw.calls import identity_of
from sipgw.sip import SipRequest
from sipgw.sip_edge.limits import EdgeLimits, RefreshLimits
from sipgw.sip_edge.media.commands import MediaCommands
from sipgw.sip_edge.move.reinvites import NotNow, outcome_of

StartEdge = Callable[..., Awaitable[TestEdge]]


@pytest.fixture
async def a(start_edge: StartEdge) -> TestEdge:
    return await start_edge("edge-a")


@pytest.fixture
async def b(start_edge: StartEdge, a: TestEdge) -> TestEdge:
    edge = await start_edge("edge-b")
    await edge.until(lambda: len(edge.app.edges.live) == 1)
    return edge


def port_of(request: SipRequest) -> int:
    assert request.contact is not None
    return int(str(request.contact.uri).rpartition(":")[2])


async def is_refreshed(edge: TestEdge, call: CallerDialog, within_s: float = 10.0) -> None:
    """Return whether the caller has the Contact of `edge` and no refresh is under way."""

    def holds() -> bool:
        record = copy_of(edge, call)
        return (
            record is not None
            and record.legs[0].local_target.endswith(f":{edge.sip.port}")
            and not record.HasField("refresh")
        )

    await edge.until(holds, within_s)


async def test_the_claimers_contact_goes_out_with_the_description_last_agreed(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(a, caller)
    before = relay.commands(call.call_id)
    await a.kill()
    invite = await caller.peer_request("INVITE")
    assert port_of(invite) == b.sip.port
    assert invite.body == call.ok.body, "o= and all: media does not stop (RFC 3264 §8)"
    ack = await caller.peer_request("ACK")
    assert ack.cseq.number == invite.cseq.number
    await is_refreshed(b, call)
    since = relay.commands(call.call_id)[len(before) :]
    assert set(since) == {"adopt"}, "the relay has nothing to change"
    assert relay.sessions[call.call_id].is_started
    held = await call.ask("INVITE", b.sip, body=HELD_SDP)
    assert b"a=recvonly" in held.body
    call.ack(b.sip, cseq=held.cseq.number)
    assert (await call.ask("UPDATE", b.sip)).status == 200
    assert (await call.ask("BYE", b.sip)).status == 200


async def test_a_claimer_at_the_same_address_sends_nothing(
    start_edge: StartEdge, a: TestEdge, caller: Caller
) -> None:
    call = await established(a, caller)
    await a.kill()
    successor = await start_edge("edge-a", sip_port=a.sip.port)
    await successor.until(lambda: copy_of(successor, call) is not None)
    assert (await call.ask("OPTIONS", successor.sip)).status == 200
    assert all(one.method != "INVITE" for one in caller.requests)


async def test_an_edge_that_answered_a_re_invite_has_given_its_contact(
    a: TestEdge, b: TestEdge, caller: Caller
) -> None:
    call = await established(a, caller)
    held = await call.ask("INVITE", b.sip, body=HELD_SDP)
    call.ack(b.sip, cseq=held.cseq.number)
    await a.kill()
    await b.until(lambda: copy_of(b, call) is not None)
    assert (await call.ask("OPTIONS", b.sip)).status == 200
    assert all(one.method != "INVITE" for one in caller.requests)


async def test_a_held_call_is_offered_as_it_is(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(a, caller)
    held = await call.ask("INVITE", a.sip, body=HELD_SDP)
    call.ack(a.sip, cseq=held.cseq.number)
    await a.until(lambda: (one := copy_of(a, call)) is not None and one.legs[0].invite.ack_seen)
    caller.answer_sdp = HELD_SDP
    await a.kill()
    invite = await caller.peer_request("INVITE")
    assert invite.body == held.body
    await is_refreshed(b, call)
    record = copy_of(b, call)
    assert record is not None
    assert record.legs[0].on_hold


async def test_an_answer_with_other_media_reaches_the_relay(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(a, caller)
    caller.answer_sdp = SDP.replace(b"40000", b"40002").replace(b"o=- 1 1", b"o=- 1 2")
    await a.kill()
    await is_refreshed(b, call)
    assert relay.sessions[call.call_id].media.remote_rtp_port == 40002


@pytest.mark.parametrize("status", [401, 488, 503])
async def test_a_caller_that_refuses_keeps_its_call(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller, status: int
) -> None:
    call = await established(a, caller)
    caller.statuses["INVITE"] = status
    await a.kill()
    await caller.peer_request("INVITE")
    await b.until(lambda: (one := copy_of(b, call)) is not None and not one.HasField("refresh"))
    assert call.call_id in relay.sessions
    assert (await call.ask("BYE", b.sip)).status == 200
    assert all(one.method != "BYE" for one in caller.requests)


@pytest.mark.parametrize(("status", "byes"), [(481, 0), (408, 1), (None, 1)])
async def test_a_caller_that_is_gone_ends_the_call(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller, status: int | None, byes: int
) -> None:
    """RFC 3261 §12.2.1.2: 481, 408 or no response."""
    call = await established(a, caller)
    caller.statuses["INVITE"] = status
    await a.kill()
    await caller.peer_request("INVITE")

    async def is_over() -> bool:
        return call.call_id not in relay.sessions

    await eventually(is_over, 15)
    await b.until(lambda: copy_of(b, call) is None)
    assert len({one.via.branch for one in caller.requests if one.method == "BYE"}) == byes


async def test_glare_is_answered_by_another_try_with_the_next_cseq(
    a: TestEdge, b: TestEdge, caller: Caller
) -> None:
    call = await established(a, caller)
    caller.statuses["INVITE"] = 491
    await a.kill()
    first = await caller.peer_request("INVITE")
    caller.statuses.clear()
    second = await caller.peer_request("INVITE", 2)
    assert second.cseq.number > first.cseq.number
    assert second.body == first.body
    await is_refreshed(b, call)


def test_who_made_the_call_id_waits_longer_after_glare(caller: Caller) -> None:
    """RFC 3261 §14.1, in steps of 10 ms."""
    from sipgw.sip import make_response

    glare = make_response(caller.invite(), 491)

    def pauses(*, is_owner: bool) -> list[float]:
        outcomes = [outcome_of(glare, is_owner=is_owner) for _ in range(300)]
        assert all(isinstance(one, NotNow) for one in outcomes)
        return [one.retry_after_s for one in outcomes if isinstance(one, NotNow)]

    assert 0 <= min(pauses(is_owner=False)) < 0.3
    assert 1.7 < max(pauses(is_owner=False)) <= 2.0
    assert 2.1 <= min(pauses(is_owner=True)) < 2.4
    assert 3.7 < max(pauses(is_owner=True)) <= 4.0


async def test_an_offer_of_the_callers_meanwhile_gets_491_and_then_its_turn(
    a: TestEdge, b: TestEdge, caller: Caller
) -> None:
    call = await established(a, caller)
    caller.statuses["INVITE"] = None
    await a.kill()
    invite = await caller.peer_request("INVITE")
    assert (await call.ask("INVITE", b.sip, body=HELD_SDP)).status == 491
    caller.statuses.clear()
    caller._answer(invite, b.sip)
    await is_refreshed(b, call)
    assert (await call.ask("INVITE", b.sip, body=HELD_SDP)).status == 200


async def test_the_next_edge_refreshes_anew_when_the_claimer_dies_in_the_midst(
    start_edge: StartEdge, a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    """The claimer dies with its re-INVITE sent.

    Had the caller's 200 been lost with it, the 200 would still get its ACK.
    """
    call = await established(a, caller)
    caller.statuses["INVITE"] = None
    await a.kill()
    first = await caller.peer_request("INVITE")
    c = await start_edge("edge-c")
    await b.kill()
    caller.statuses.clear()
    second = await caller.peer_request("INVITE", 2, within_s=15)
    assert second.cseq.number > first.cseq.number, "from another address it would be no retransmission"
    assert port_of(second) == c.sip.port
    acked = next(one for one in caller.requests if one.method == "ACK")
    assert acked.cseq.number == first.cseq.number
    await is_refreshed(c, call)
    assert call.call_id in relay.sessions
    assert (await call.ask("BYE", c.sip)).status == 200


async def test_a_move_and_a_refresh_send_one_re_invite_at_a_time(
    a: TestEdge,
    b: TestEdge,
    registry: FakeRegistry,
    relay: FakeRelay,
    other_relay: FakeRelay,
    caller: Caller,
) -> None:
    """Edge and relay die together: whichever re-INVITE is first gives the Contact, and none
    crosses another.
    """
    call = await established(a, caller)
    registry.relays.append(other_relay)
    await a.kill()
    await relay.stop()
    await is_refreshed(b, call, 15)
    await b.until(lambda: relay_of(b, call) == "relay-1", 15)
    invites = list({one.cseq.number: one for one in caller.requests if one.method == "INVITE"}.values())
    acked = {one.cseq.number for one in caller.requests if one.method == "ACK"}
    for earlier, later in pairwise(invites):
        position = caller.requests.index(later)
        before = {one.cseq.number for one in caller.requests[:position] if one.method == "ACK"}
        assert earlier.cseq.number in before, "the first was still open"
    assert {one.cseq.number for one in invites} <= acked
    assert other_relay.sessions[call.call_id].is_started
    assert (await call.ask("BYE", b.sip)).status == 200


async def test_refreshes_are_paced(start_edge: StartEdge, caller: Caller) -> None:
    slow = EdgeLimits(refreshes=RefreshLimits(per_s=4))
    a = await start_edge("edge-a")
    b = await start_edge("edge-b", limits=slow)
    made = [await established(a, caller) for _ in range(4)]
    await a.kill()
    await caller.peer_request("INVITE", 1, within_s=10)
    began = asyncio.get_running_loop().time()
    await caller.peer_request("INVITE", 4, within_s=10)
    assert asyncio.get_running_loop().time() - began > 0.5
    for call in made:
        await is_refreshed(b, call)


async def test_a_call_that_ends_meanwhile_is_left_alone(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(a, caller)
    caller.statuses["INVITE"] = None
    await a.kill()
    await caller.peer_request("INVITE")
    assert (await call.ask("BYE", b.sip)).status == 200
    await b.until(lambda: not relay.sessions)
    ended = await b.app.records.load(call.call_id)
    assert ended is not None
    assert ended.end_cause == calls.END_CAUSE_CALLER_HANGUP


async def test_a_silent_relay_is_not_told_what_the_callers_answer_changed(
    a: TestEdge,
    b: TestEdge,
    registry: FakeRegistry,
    relay: FakeRelay,
    other_relay: FakeRelay,
    caller: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The move of the call waits for its refresh, and a command to a dead relay would take a second."""
    told: list[str] = []
    modify = MediaCommands.modify

    async def note(self: MediaCommands, record: calls.CallSession, media: MediaSpec) -> None:
        told.append(record.media.relay.name)
        await modify(self, record, media)

    monkeypatch.setattr(MediaCommands, "modify", note)
    stranded = await established(a, caller)
    other = await established(b, caller)
    relay.freeze()
    await b.until(lambda: b.app.relays.is_silent(identity_of(copy_of(b, other).media.relay)))
    caller.answer_sdp = SDP.replace(b"s=-", b"s=changed")
    await a.kill()
    registry.relays.append(other_relay)
    await is_refreshed(b, stranded)
    await b.until(lambda: relay_of(b, stranded) == "relay-1")
    assert told
    assert set(told) == {"relay-1"}
