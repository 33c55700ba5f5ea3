"""One call at one edge, over real UDP, Redis and gRPC; stand-ins for relay and registry."""

import pytest

from edge_kit.caller import Caller, CallerDialog, ack_failure
from edge_kit.edges import TestEdge
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.sip import SipRequest, make_cancel


def state_of(edge: TestEdge, call_id: str) -> int | None:
    record = edge.app.records.copy_of(call_id)
    return record.state if record is not None else None


async def tombstone(edge: TestEdge, call_id: str) -> calls.CallSession:
    await edge.until(lambda: edge.app.records.copy_of(call_id) is None)
    record = await edge.app.records.load(call_id)
    assert record is not None
    assert record.state == calls.CALL_STATE_ENDED
    return record


async def ringing(edge: TestEdge, relay: FakeRelay, caller: Caller) -> tuple[SipRequest, str]:
    """Send an INVITE and wait until it rings, before its bot is ready."""
    relay.bot_ready = False
    invite = caller.invite()
    caller.send(invite, edge.sip)
    progress = await caller.response(invite, 180)
    return invite, (progress.to.tag or "")[:32]


async def test_a_call_is_answered_with_the_relays_ports_and_ends_with_the_callers_bye(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    assert b"m=audio 20000 RTP/AVP 0 101" in call.ok.body
    assert b"c=IN IP4 192.0.2.10" in call.ok.body
    assert [r.status for r in caller.responses[:3]] == [100, 180, 200]
    media = relay.sessions[call.call_id].media
    assert (media.remote_address, media.remote_rtp_port) == ("198.51.100.7", 40000)
    await edge.until(lambda: state_of(edge, call.call_id) == calls.CALL_STATE_ESTABLISHED)
    await edge.until(lambda: "acknowledge" in relay.commands(call.call_id))

    assert (await call.ask("BYE", edge.sip)).status == 200
    ended = await tombstone(edge, call.call_id)
    assert ended.end_cause == calls.END_CAUSE_CALLER_HANGUP
    assert relay.commands(call.call_id) == ["allocate", "start", "acknowledge", "release"]
    assert relay.sessions == {}


async def test_a_repeated_bye_is_answered_from_the_tombstone(edge: TestEdge, caller: Caller) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    bye = call.next("BYE")
    caller.send(bye, edge.sip)
    await caller.response(bye)
    await tombstone(edge, call.call_id)
    bye.headers.set("Via", caller.via)  # a new transaction: no transaction here absorbs it
    caller.send(bye, edge.sip)
    assert (await caller.response(bye)).status == 200
    assert (await call.ask("BYE", edge.sip)).status == 481


async def test_contact_and_to_tag_name_the_call(edge: TestEdge, caller: Caller) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    contact = call.ok.contact
    assert contact is not None
    assert str(contact.uri) == f"sip:{call.call_id}@127.0.0.1:{edge.sip.port}"
    assert edge.app.records.copy_of(call.call_id) is not None


async def test_the_bot_is_told_who_calls_and_gets_the_headers_of_its_route(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    assert edge.app.gateway.current is not None
    edge.app.gateway.current.routes[0].headers_to_bot.append("X-Customer")
    edge.app.gateway.take(edge.app.gateway.current)
    call = await CallerDialog.established(caller, edge.sip, headers=(("X-Customer", "42"),))
    bot = relay.sessions[call.call_id].spec.bot
    assert (getattr(bot, "from"), bot.to, dict(bot.sip_headers)) == ("alice", "bot", {"X-Customer": "42"})
    assert bot.resume_token
    assert relay.sessions[call.call_id].spec.traceparent.startswith("00-")


async def test_a_cancel_before_the_answer_gets_200_and_the_invite_487(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite, call_id = await ringing(edge, relay, caller)
    cancel = CallerDialog(caller, invite, await caller.response(invite, 180)).cancel()
    caller.send(cancel, edge.sip)
    assert (await caller.response(cancel)).status == 200
    final = await caller.response(invite)
    assert final.status == 487
    ack_failure(caller, invite, final, edge.sip)
    assert (await tombstone(edge, call_id)).end_cause == calls.END_CAUSE_CALLER_CANCELLED
    assert relay.sessions == {}


async def test_a_cancel_that_overtakes_the_record_is_obeyed(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    relay.bot_ready = False
    invite = caller.invite()
    cancel = make_cancel(invite)
    caller.send(invite, edge.sip)
    caller.send(cancel, edge.sip)  # both are read before Redis has answered anything
    assert (await caller.response(cancel)).status == 200
    final = await caller.response(invite)
    assert final.status == 487
    ack_failure(caller, invite, final, edge.sip)
    await edge.until(lambda: not len(edge.app.live))
    assert relay.sessions == {}


async def test_a_cancel_after_the_answer_changes_nothing(edge: TestEdge, caller: Caller) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    cancel = call.cancel()
    caller.send(cancel, edge.sip)
    assert (await caller.response(cancel)).status == 200
    assert state_of(edge, call.call_id) in {calls.CALL_STATE_ANSWERED, calls.CALL_STATE_ESTABLISHED}


async def test_the_200_is_repeated_until_its_ack(edge: TestEdge, caller: Caller) -> None:
    call = await CallerDialog.answered(caller, edge.sip)
    await edge.until(lambda: caller.count(call.invite, 200) >= 3)
    call.ack(edge.sip)
    await edge.until(lambda: state_of(edge, call.call_id) == calls.CALL_STATE_ESTABLISHED)
    assert not edge.app.responses.acked(call.call_id, 1)


async def test_without_an_ack_the_call_ends_with_a_bye(edge: TestEdge, caller: Caller) -> None:
    call = await CallerDialog.answered(caller, edge.sip)
    bye = await caller.peer_request("BYE", within_s=10)  # 64*T1 are 6.4 s here
    assert "no ACK" in (bye.headers.get("Reason") or "")
    assert (await tombstone(edge, call.call_id)).end_cause == calls.END_CAUSE_NO_ACK


async def test_a_bye_of_ours_waits_for_the_ack(edge: TestEdge, relay: FakeRelay, caller: Caller) -> None:
    """RFC 3261 §15: the callee must not send BYE before the ACK."""
    call = await CallerDialog.answered(caller, edge.sip)
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup(reason="wrong number"))
    await edge.until(lambda: state_of(edge, call.call_id) == calls.CALL_STATE_ENDING)
    await edge.until(lambda: caller.count(call.invite, 200) >= 2)
    assert not [one for one in caller.requests if one.method == "BYE"]
    call.ack(edge.sip)
    await caller.peer_request("BYE")
    assert (await tombstone(edge, call.call_id)).end_reason == "wrong number"


@pytest.mark.parametrize(
    ("event", "cause", "reason"),
    [
        ({"bot_hangup": relay_api.BotHangup(reason="done")}, calls.END_CAUSE_BOT_HANGUP, "bot hung up"),
        ({"bot_finished": relay_api.BotFinished()}, calls.END_CAUSE_BOT_FINISHED, "bot finished"),
        ({"bot_failed": relay_api.BotFailed(reason="gone")}, calls.END_CAUSE_BOT_LOST, "bot lost"),
        ({"bot_silent": relay_api.BotSilent(after_ms=3000)}, calls.END_CAUSE_BOT_SILENT, "bot silent"),
        (
            {"media_timed_out": relay_api.MediaTimedOut(silent_ms=60000)},
            calls.END_CAUSE_MEDIA_TIMEOUT,
            "no media",
        ),
    ],
)
async def test_what_the_relay_reports_ends_the_call_with_a_bye_that_says_why(
    edge: TestEdge, relay: FakeRelay, caller: Caller, event: dict[str, object], cause: int, reason: str
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: state_of(edge, call.call_id) == calls.CALL_STATE_ESTABLISHED)
    relay.emit(call.call_id, **event)
    bye = await caller.peer_request("BYE")
    assert reason in (bye.headers.get("Reason") or "")
    assert bye.to.tag == call.dialog.local_tag
    assert (await tombstone(edge, call.call_id)).end_cause == cause
    await edge.until(lambda: not relay.unacked)


async def test_a_finished_bot_leaves_the_call_where_its_route_says_so(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    assert edge.app.gateway.current is not None
    edge.app.gateway.current.routes[0].on_bot_finished = config.ON_BOT_FINISHED_KEEP
    call = await CallerDialog.established(caller, edge.sip)
    relay.emit(call.call_id, bot_finished=relay_api.BotFinished())
    await edge.until(lambda: not relay.unacked)
    assert state_of(edge, call.call_id) in {calls.CALL_STATE_ANSWERED, calls.CALL_STATE_ESTABLISHED}


@pytest.mark.parametrize("status", [480, 503])
async def test_no_bot_before_the_answer_gets_the_routes_status(
    edge: TestEdge, relay: FakeRelay, caller: Caller, status: int
) -> None:
    assert edge.app.gateway.current is not None
    edge.app.gateway.current.routes[0].no_bot_status = status
    invite, call_id = await ringing(edge, relay, caller)
    relay.emit(call_id, bot_failed=relay_api.BotFailed(reason="refused", before_ready=True))
    final = await caller.response(invite)
    assert final.status == status
    assert (final.headers.get("Retry-After") is not None) == (status == 503)
    assert (await tombstone(edge, call_id)).end_cause == calls.END_CAUSE_BOT_LOST


async def test_a_bot_that_hangs_up_before_the_answer_declines_the_call(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite, call_id = await ringing(edge, relay, caller)
    relay.emit(call_id, bot_hangup=relay_api.BotHangup(reason="not today"))
    assert (await caller.response(invite)).status == 486
    assert (await tombstone(edge, call_id)).end_cause == calls.END_CAUSE_BOT_HANGUP


async def test_an_immediate_answer_does_not_wait_for_the_bot(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    assert edge.app.gateway.current is not None
    edge.app.gateway.current.routes[0].answer = config.ANSWER_MODE_IMMEDIATE
    relay.bot_ready = False
    call = await CallerDialog.established(caller, edge.sip)
    assert 180 not in [one.status for one in caller.responses]
    await edge.until(lambda: state_of(edge, call.call_id) == calls.CALL_STATE_ESTABLISHED)
    relay.emit(call.call_id, bot_failed=relay_api.BotFailed(reason="refused", before_ready=True))
    await caller.peer_request("BYE")


async def test_early_media_rings_with_sdp(edge: TestEdge, relay: FakeRelay, caller: Caller) -> None:
    assert edge.app.gateway.current is not None
    edge.app.gateway.current.routes[0].early_media = True
    relay.bot_ready = False
    invite = caller.invite()
    caller.send(invite, edge.sip)
    progress = await caller.response(invite, 183)
    assert b"m=audio 20000" in progress.body


async def test_a_call_lasts_no_longer_than_the_gateway_lets_it(edge: TestEdge, caller: Caller) -> None:
    assert edge.app.gateway.current is not None
    edge.app.gateway.current.gateway.max_call_seconds = 1
    await CallerDialog.established(caller, edge.sip)
    assert await caller.peer_request("BYE")


async def test_record_route_makes_the_route_set_of_our_bye(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    routes = f"<sip:127.0.0.1:{caller.port};lr>, <sip:p2.invalid;lr>"
    call = await CallerDialog.established(caller, edge.sip, headers=(("Record-Route", routes),))
    assert call.ok.headers.get_all("Record-Route") == [routes]
    await edge.until(lambda: state_of(edge, call.call_id) == calls.CALL_STATE_ESTABLISHED)
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup())
    bye = await caller.peer_request("BYE")
    assert [str(route.uri) for route in bye.routes] == [
        f"sip:127.0.0.1:{caller.port};lr",
        "sip:p2.invalid;lr",
    ]
    assert (bye.via.branch or "").startswith("z9hG4bK-edge-0-")


async def test_all_steps_of_a_call_share_one_trace(edge: TestEdge, relay: FakeRelay, caller: Caller) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    record = edge.app.records.copy_of(call.call_id)
    assert record is not None
    traceparent = relay.sessions[call.call_id].spec.traceparent
    assert traceparent.split("-")[1:3] == [record.trace.trace_id, record.trace.root_span_id]
