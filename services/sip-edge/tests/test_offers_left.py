"""An edge dies while it serves an offer of the caller: the caller gets its response from another one."""

import asyncio

import pytest

from edge_kit.caller import HELD_SDP, SDP, Caller, CallerDialog
from edge_kit.edges import TestEdge, eventually
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.sip import TransactionKey

WITHIN_S = 15.0
"""A lease lapses, the call is claimed, and its offer is found to be neglected."""


@pytest.fixture
async def a(start_edge) -> TestEdge:
    return await start_edge("edge-a")


@pytest.fixture
async def b(start_edge, a: TestEdge) -> TestEdge:
    edge = await start_edge("edge-b")
    await edge.until(lambda: len(edge.app.edges.live) == 1)
    await a.until(lambda: len(a.app.edges.live) == 1)
    return edge


async def leg_of(edge: TestEdge, call: CallerDialog) -> calls.Leg:
    record = await edge.app.records.load(call.call_id)
    assert record is not None
    return record.legs[0]


async def established(caller: Caller, edge: TestEdge) -> CallerDialog:
    call = await CallerDialog.established(caller, edge.sip)

    async def is_acknowledged() -> bool:
        return (await leg_of(edge, call)).invite.ack_seen

    await eventually(is_acknowledged)
    return call


def hold_modify(relay: FakeRelay) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the relay keep its first Modify: the first event tells that it has it, the second lets it go on."""
    has_it, go_on = asyncio.Event(), asyncio.Event()

    async def wait(command: relay_api.Command) -> None:
        if command.WhichOneof("command") == "modify" and not has_it.is_set():
            has_it.set()
            await go_on.wait()

    relay.on_command = wait
    return has_it, go_on


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("serves", ["its owner", "another edge"])
async def test_a_hold_whose_edge_dies_is_answered_by_the_calls_owner(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller, method: str, serves: str
) -> None:
    call = await established(caller, a)
    dying, living = (a, b) if serves == "its owner" else (b, a)
    has_modify, _ = hold_modify(relay)
    hold = call.next(method, body=HELD_SDP)
    caller.send(hold, dying.sip)
    await has_modify.wait()
    await dying.kill()
    ok = await caller.response(hold, 200, within_s=WITHIN_S)
    assert b"a=recvonly" in ok.body
    if method == "INVITE":
        call.ack(living.sip, cseq=ok.cseq.number)
    leg = await leg_of(living, call)
    assert leg.on_hold
    assert leg.offer_pending == calls.OFFER_PENDING_UNSPECIFIED
    assert not leg.HasField("pending_offer")
    assert relay.sessions[call.call_id].media.direction == relay_api.MEDIA_DIRECTION_RECVONLY
    resumed = await call.reinvite(living.sip, body=SDP.replace(b"o=- 1 1", b"o=- 1 3"))
    assert resumed.status == 200


async def test_an_update_that_is_sent_again_to_another_edge_has_one_result(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first edge serves it still, or its response was lost."""
    left_to_the_other, forget = asyncio.Event(), b.app.sip.forget

    def note(key: TransactionKey) -> None:
        forget(key)
        left_to_the_other.set()

    monkeypatch.setattr(b.app.sip, "forget", note)
    call = await established(caller, a)
    has_modify, go_on = hold_modify(relay)
    hold = call.next("UPDATE", body=HELD_SDP)
    caller.send(hold, a.sip)
    await has_modify.wait()
    caller.send(hold, b.sip)
    await left_to_the_other.wait()
    go_on.set()
    ok = await caller.response(hold, 200)
    caller.send(hold, b.sip)
    await b.until(lambda: caller.count(hold, 200) == 2)
    assert {one.body for one in caller.responses if one.cseq == hold.cseq} == {ok.body}
    assert relay.commands(call.call_id).count("modify") == 1


async def test_an_offer_that_an_older_edge_left_is_withdrawn(start_edge, caller: Caller) -> None:
    """Its record has no request, so the caller gets no response; later offers are served."""
    edge = await start_edge("edge-a")
    call = await established(caller, edge)

    def leave(draft: calls.CallSession) -> bool:
        draft.legs[0].offer_pending = calls.OFFER_PENDING_REMOTE
        return True

    await edge.app.records.update(call.call_id, leave)
    assert (await call.ask("INVITE", edge.sip, body=HELD_SDP)).status == 500

    async def is_withdrawn() -> bool:
        return (await leg_of(edge, call)).offer_pending == calls.OFFER_PENDING_UNSPECIFIED

    await eventually(is_withdrawn)
    assert (await call.ask("INVITE", edge.sip, body=HELD_SDP)).status == 200


async def test_an_edge_that_was_frozen_in_its_offer_answers_with_what_was_agreed(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    """The owner served the offer meanwhile: the late result of the other edge changes nothing."""
    call = await established(caller, a)
    has_modify, go_on = hold_modify(relay)
    hold = call.next("INVITE", body=HELD_SDP)
    caller.send(hold, b.sip)
    await has_modify.wait()
    record = await a.app.records.reload(call.call_id)
    assert record is not None
    await a.app.offers.go_on(record)
    ok = await caller.response(hold, 200)
    go_on.set()
    call.ack(a.sip, cseq=ok.cseq.number)
    await a.until(lambda: relay.commands(call.call_id)[-1] == "acknowledge")
    leg = await leg_of(a, call)
    assert (leg.local_sdp, leg.offer_pending) == (ok.body, calls.OFFER_PENDING_UNSPECIFIED)
    assert {one.body for one in caller.responses if one.cseq == hold.cseq and one.status == 200} == {ok.body}
