"""An edge that stops and hands its calls over: they go on at another edge, or at its successor."""

import asyncio
import dataclasses

import pytest

from edge_kit.caller import HELD_SDP, Caller, CallerDialog
from edge_kit.edges import FAST, TestEdge, eventually
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.runtime.patience import patient
from sipgw.sip import TimerValues, make_response
from sipgw.sip_edge.settings import OnStop

BRIEF = dataclasses.replace(FAST, hand_over_s=0.3)
CALM = dataclasses.replace(FAST, sip=TimerValues())
"""Long timers, so that no 200 is repeated because this machine was busy for a moment."""


@pytest.fixture
async def a(start_edge) -> TestEdge:
    return await start_edge("edge-a", on_stop=OnStop.HAND_OVER, times=CALM)


@pytest.fixture
async def b(start_edge, a: TestEdge) -> TestEdge:
    edge = await start_edge("edge-b", on_stop=OnStop.HAND_OVER, times=CALM)
    await edge.until(lambda: len(edge.app.edges.live) == 1 and edge.app.leases.may_judge())
    return edge


async def established(caller: Caller, edge: TestEdge) -> CallerDialog:
    call = await CallerDialog.established(caller, edge.sip)
    await until_state(edge, call.call_id, calls.CALL_STATE_ESTABLISHED)
    return call


async def until_state(edge: TestEdge, call_id: str, state: int) -> calls.CallSession:
    async def is_reached() -> bool:
        record = await edge.app.records.load(call_id)
        return record is not None and record.state == state

    await eventually(is_reached)
    record = await edge.app.records.load(call_id)
    assert record is not None
    return record


def byes(caller: Caller) -> list[object]:
    return [one for one in caller.requests if one.method == "BYE"]


async def test_its_calls_are_claimed_without_waiting_for_a_lapse(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    standing = [await established(caller, a) for _ in range(5)]
    async with asyncio.timeout(patient(2.5)):
        await a.stop()
    assert [lease.identity.name for lease in await b.app.leases.live()] == ["edge-b"]
    await b.until(lambda: len(b.app.live) == 5, within_s=2.0)
    assert not byes(caller)
    for number, call in enumerate(standing):
        assert "release" not in relay.commands(call.call_id)
        if number % 2:
            assert (await call.ask("BYE", b.sip)).status == 200
        else:
            ok = await call.reinvite(b.sip, body=HELD_SDP)
            assert ok.status == 200
            call.ack(b.sip, cseq=ok.cseq.number)


async def test_a_bot_that_hangs_up_while_nobody_owns_the_call_is_heard_by_who_claims_it(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    await a.stop()
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup(reason="done"))
    bye = await caller.peer_request("BYE")
    assert (bye.via.branch or "").startswith("z9hG4bK-edge-b-")
    assert bye.uri.host == "127.0.0.1"
    assert bye.uri.port == caller.port, "it goes to the caller's Contact"
    ended = await until_state(b, call.call_id, calls.CALL_STATE_ENDED)
    assert ended.end_cause == calls.END_CAUSE_BOT_HANGUP


async def test_a_call_that_is_being_set_up_is_answered_before_the_edge_leaves(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    relay.bot_ready = False
    invite = caller.invite()
    caller.send(invite, a.sip)
    progress = await caller.response(invite, 180)
    stopping = asyncio.create_task(a.stop())
    await a.until(lambda: a.app.intake.is_stopping)
    call_id = (progress.to.tag or "")[:32]
    relay.emit(call_id, bot_ready=relay_api.BotReady(confirmed=True))
    call = CallerDialog(caller, invite, await caller.response(invite, 200))
    assert not stopping.done()
    call.ack(a.sip)
    await stopping
    await b.until(lambda: len(b.app.live) == 1)
    assert caller.count(invite, 200) == 1
    assert (await call.ask("BYE", b.sip)).status == 200


async def test_a_call_that_rings_for_long_is_left_ringing_and_answered_by_the_other_edge(
    start_edge, relay: FakeRelay, caller: Caller
) -> None:
    a = await start_edge("edge-a", on_stop=OnStop.HAND_OVER, times=BRIEF)
    b = await start_edge("edge-b")
    await b.until(lambda: len(b.app.edges.live) == 1 and b.app.leases.may_judge())
    relay.bot_ready = False
    invite = caller.invite()
    caller.send(invite, a.sip)
    progress = await caller.response(invite, 180)
    async with asyncio.timeout(patient(2.5)):
        await a.stop()
    call_id = (progress.to.tag or "")[:32]
    relay.emit(call_id, bot_ready=relay_api.BotReady(confirmed=True))
    call = CallerDialog(caller, invite, await caller.response(invite, 200))
    call.ack(b.sip)
    await until_state(b, call_id, calls.CALL_STATE_ESTABLISHED)
    assert call.ok.to.tag == progress.to.tag


async def test_an_end_under_way_is_carried_to_its_end(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, a)
    caller.answer_requests = False
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup(reason="done"))
    bye = await caller.peer_request("BYE")
    stopping = asyncio.create_task(a.stop())
    await a.until(lambda: a.app.intake.is_stopping)
    caller.send(make_response(bye, 200), a.sip)
    async with asyncio.timeout(patient(2.5)):
        await stopping
    await until_state(b, call.call_id, calls.CALL_STATE_ENDED)
    assert len({one.via.branch for one in caller.requests}) == 1, "no other BYE by the other edge"


async def test_new_calls_are_sent_elsewhere_while_it_leaves(
    a: TestEdge, b: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    relay.bot_ready = False
    ringing = caller.invite()
    caller.send(ringing, a.sip)
    await caller.response(ringing, 180)
    stopping = asyncio.create_task(a.stop())
    await a.until(lambda: a.app.intake.is_stopping)
    late = caller.invite()
    caller.send(late, a.sip)
    refused = await caller.response(late)
    assert refused.status == 503
    assert refused.headers.get("Retry-After")
    await stopping


async def test_the_successor_of_the_only_edge_claims_its_calls(
    start_edge, relay: FakeRelay, caller: Caller
) -> None:
    only = await start_edge("edge-a", on_stop=OnStop.HAND_OVER)
    first, second = await established(caller, only), await established(caller, only)
    await only.stop()
    next_one = await start_edge("edge-a", on_stop=OnStop.HAND_OVER, sip_port=only.sip.port)
    assert (await first.ask("BYE", next_one.sip)).status == 200, "served from the record, claimed or not"
    await next_one.until(lambda: next_one.app.live.get(second.call_id) is not None, within_s=6.0)
    assert not byes(caller)
    relay.emit(second.call_id, bot_hangup=relay_api.BotHangup(reason="done"))
    await caller.peer_request("BYE")
    await until_state(next_one, second.call_id, calls.CALL_STATE_ENDED)
