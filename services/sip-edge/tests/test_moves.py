"""Calls of a relay that died or froze: the caller gets a re-INVITE with another address, and no call ends
(stand-in relays).
"""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from edge_kit.caller import HELD_SDP, Caller, CallerDialog
from edge_kit.edges import FAST, TestEdge, eventually
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from edge_kit.standing_calls import copy_of, established, relay_of
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.registry.v1 import registry_pb2 as registry_api
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.calls import identity_of
from sipgw.sip import SipRequest
from sipgw.sip_edge.limits import EdgeLimits


async def acked(caller: Caller, invite: SipRequest) -> SipRequest:
    ack = await caller.peer_request("ACK")
    assert ack.cseq.number == invite.cseq.number
    return ack


async def test_a_call_of_a_dead_relay_goes_on_at_another_within_two_seconds(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    token = relay.sessions[call.call_id].spec.bot.resume_token
    await relay.stop()
    invite = await caller.peer_request("INVITE", within_s=2)
    assert b"c=IN IP4 192.0.2.11" in invite.body
    assert b"m=audio 20000 RTP/AVP 0 101" in invite.body
    assert str(invite.uri) == f"sip:alice@127.0.0.1:{caller.port}"
    await acked(caller, invite)
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    assert other_relay.commands(call.call_id) == ["allocate", "modify", "start"]
    bot = other_relay.sessions[call.call_id].spec.bot
    assert (bot.epoch, bot.resume_token, bot.preferred_address) == (2, token, "192.0.2.20:9090")
    assert other_relay.sessions[call.call_id].spec.continuation.elapsed_ms > 0
    assert (await call.ask("BYE", edge.sip)).status == 200


async def test_our_description_keeps_its_session_and_rises_by_a_version(
    call: CallerDialog, relay: FakeRelay, caller: Caller
) -> None:
    await relay.stop()
    invite = await caller.peer_request("INVITE")

    def origin(sdp: bytes) -> list[bytes]:
        return next(line for line in sdp.splitlines() if line.startswith(b"o=")).split()

    before, after = origin(call.ok.body), origin(invite.body)
    assert before[1] == after[1]
    assert int(after[2]) == int(before[2]) + 1


async def test_a_relay_that_is_frozen_is_left_too(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    """Its connections stay, and its lease for three more seconds, but it returns no ping."""
    relay.freeze()
    await caller.peer_request("INVITE", within_s=2)
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    relay.thaw()
    await edge.until(lambda: "release" in relay.commands(call.call_id))
    assert relay.sessions == {}
    assert other_relay.sessions[call.call_id].is_started


async def test_a_break_of_the_stream_alone_moves_nothing(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    edge = await start_edge("edge-0", times=replace(FAST, relay_silent_s=3.0))
    call = await established(edge, caller)
    registry.relays.append(other_relay)
    relay.break_streams()
    await edge.until(lambda: "adopt" in relay.commands(call.call_id))
    assert relay_of(edge, call) == "relay-0"
    assert all(one.method != "INVITE" for one in caller.requests)


async def test_a_relay_whose_process_is_gone_is_left_at_once(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    """Its host refuses the connection, so no silence has to be waited for."""
    edge = await start_edge("edge-0", times=replace(FAST, relay_silent_s=60.0))
    call = await established(edge, caller)
    registry.relays.append(other_relay)
    await relay.stop()
    await edge.until(lambda: relay_of(edge, call) == "relay-1", 3)


async def test_a_pause_of_the_whole_machine_moves_nothing(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    """All calls are on one relay; the other relay, without calls, was silent as well."""
    await edge.until(lambda: bool(other_relay.dialled))
    await asyncio.sleep(0.5)  # both have answered pings
    relay.freeze()
    other_relay.freeze()
    await asyncio.sleep(1.3)
    relay.thaw()
    other_relay.thaw()
    await asyncio.sleep(0.5)
    assert relay_of(edge, call) == "relay-0"
    assert all(one.method != "INVITE" for one in caller.requests)


async def test_silence_does_not_move_a_call_again_at_once(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    """A call does not move to and fro on a busy machine; it moves when the hold-off has passed."""
    edge = await start_edge("edge-0", times=replace(FAST, relay_silent_s=0.5, move_hold_off_s=3.0))
    call = await established(edge, caller)
    registry.relays.append(other_relay)
    relay.freeze()
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    moved_at = asyncio.get_running_loop().time()
    relay.thaw()
    await edge.until(lambda: "release" in relay.commands(call.call_id))
    other_relay.freeze()
    await edge.until(lambda: relay_of(edge, call) == "relay-0")
    assert asyncio.get_running_loop().time() - moved_at > 2.5


async def test_a_relay_that_is_gone_is_left_at_once_though_the_call_has_just_moved(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay
) -> None:
    relay.freeze()
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    relay.thaw()
    await edge.until(lambda: "release" in relay.commands(call.call_id))
    await other_relay.stop()
    await edge.until(lambda: relay_of(edge, call) == "relay-0", 3)


async def test_a_relay_that_has_gone_silent_after_a_move_is_left_when_its_lease_lapses(
    edge: TestEdge, registry: FakeRegistry, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay
) -> None:
    relay.freeze()
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    relay.thaw()
    await edge.until(lambda: "release" in relay.commands(call.call_id))
    other_relay.freeze()
    await edge.until(lambda: edge.app.relays.is_silent(identity_of(copy_of(edge, call).media.relay)))
    registry.unhealthy.add(other_relay.incarnation)
    await edge.until(lambda: relay_of(edge, call) == "relay-0", 3)


async def test_an_incarnation_that_is_dead_is_dialled_once(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay
) -> None:
    """Another incarnation has its address. The call's session there is remembered for two more minutes."""
    port = int(relay.control_address.rpartition(":")[2])
    await relay.stop()
    reborn = FakeRelay("relay-0")
    await reborn.start(port)
    try:
        await edge.until(lambda: relay_of(edge, call) == "relay-1")
        await edge.until(lambda: bool(reborn.dialled))
        await asyncio.sleep(1.5)  # if the edge dialled again, it would each half second
        assert reborn.dialled == 1
        assert reborn.handled == []
    finally:
        await reborn.stop()


async def test_without_room_elsewhere_the_call_ends_once_the_lease_has_lapsed(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    await relay.stop()
    registry.unhealthy.add(relay.incarnation)
    bye = await caller.peer_request("BYE")
    assert "relay lost" in (bye.headers.get("Reason") or "")
    await edge.until(lambda: copy_of(edge, call) is None)
    ended = await edge.app.records.load(call.call_id)
    assert ended is not None
    assert ended.end_cause == calls.END_CAUSE_RELAY_LOST


async def test_room_that_comes_in_time_saves_the_call(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    call = await established(edge, caller)
    await relay.stop()
    await edge.until(lambda: edge.app.live.get(call.call_id).is_moving)
    registry.relays.append(other_relay)
    await edge.until(lambda: relay_of(edge, call) == "relay-1")


async def test_a_target_that_refuses_is_avoided(
    edge: TestEdge,
    registry: FakeRegistry,
    call: CallerDialog,
    relay: FakeRelay,
    other_relay: FakeRelay,
    caller: Caller,
) -> None:
    third = FakeRelay("relay-2", "192.0.2.12")
    await third.start()
    try:
        registry.relays.append(third)
        other_relay.refuse_allocate = relay_api.COMMAND_STATUS_NO_ROOM
        await relay.stop()
        await edge.until(lambda: relay_of(edge, call) == "relay-2")
        assert third.sessions[call.call_id].spec.bot.epoch == 3
    finally:
        await third.stop()


async def test_glare_is_answered_by_another_try_with_the_next_cseq(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, caller: Caller
) -> None:
    caller.statuses["INVITE"] = 491
    await relay.stop()
    first = await caller.peer_request("INVITE")
    caller.statuses.clear()
    second = await caller.peer_request("INVITE", 2)
    assert second.cseq.number > first.cseq.number
    assert second.via.branch != first.via.branch
    await edge.until(lambda: relay_of(edge, call) == "relay-1")


async def test_an_offer_of_the_callers_that_meets_ours_gets_491(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, caller: Caller
) -> None:
    caller.statuses["INVITE"] = None
    await relay.stop()
    await caller.peer_request("INVITE")
    assert (await call.ask("INVITE", edge.sip, body=HELD_SDP)).status == 491


@pytest.mark.parametrize("status", [401, 488, 503])
async def test_a_caller_that_refuses_after_its_relays_death_gets_a_bye(
    call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller, status: int
) -> None:
    caller.statuses["INVITE"] = status
    await relay.stop()
    assert "relay lost" in ((await caller.peer_request("BYE")).headers.get("Reason") or "")

    async def is_free() -> bool:
        return not other_relay.sessions

    await eventually(is_free)


async def test_a_caller_that_knows_the_call_no_more_gets_no_bye(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, caller: Caller
) -> None:
    caller.statuses["INVITE"] = 481
    await relay.stop()
    await edge.until(lambda: copy_of(edge, call) is None)
    assert all(one.method != "BYE" for one in caller.requests)


async def test_a_copy_of_the_200_is_acked_again(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, caller: Caller
) -> None:
    await relay.stop()
    invite = await caller.peer_request("INVITE")
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    acks = [one for one in caller.requests if one.method == "ACK"]
    caller._answer(invite, edge.sip)

    async def again() -> bool:
        return len([one for one in caller.requests if one.method == "ACK"]) > len(acks)

    await eventually(again)


async def test_a_held_call_stays_held(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    held = call.next("INVITE", body=HELD_SDP)
    caller.send(held, edge.sip)
    await caller.response(held, 200)
    call.ack(edge.sip, cseq=held.cseq.number)
    caller.answer_sdp = HELD_SDP
    await relay.stop()
    invite = await caller.peer_request("INVITE")
    assert b"a=sendrecv" in invite.body
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    media = other_relay.sessions[call.call_id].media
    assert media.direction == relay_api.MEDIA_DIRECTION_RECVONLY
    record = copy_of(edge, call)
    assert record is not None
    assert record.legs[0].on_hold


async def test_a_caller_that_hangs_up_during_the_move_leaves_nothing_behind(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    caller.statuses["INVITE"] = None
    await relay.stop()
    await caller.peer_request("INVITE")
    assert other_relay.sessions
    assert (await call.ask("BYE", edge.sip)).status == 200

    async def is_free() -> bool:
        return not other_relay.sessions

    await eventually(is_free)


async def test_a_ringing_call_is_placed_elsewhere_without_a_word_to_the_caller(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    registry.relays.append(other_relay)
    relay.bot_ready = False
    invite = caller.invite()
    caller.send(invite, edge.sip)
    await caller.response(invite, 180)
    await relay.stop()
    ok = await caller.response(invite, 200)
    assert b"c=IN IP4 192.0.2.11" in ok.body


@pytest.mark.parametrize("phase", ["offering", "switching"])
async def test_the_other_edge_goes_on_with_a_move(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller, phase: str
) -> None:
    """The edge dies after its re-INVITE, or after the caller's 200 while the new relay is mute and the ACK is
    not sent. The other edge has another address.
    """
    first = await start_edge("edge-0")
    second = await start_edge("edge-1")
    call = await established(first, caller)
    registry.relays.append(other_relay)
    if phase == "offering":
        caller.statuses["INVITE"] = None
    await relay.stop()
    invite = await caller.peer_request("INVITE")
    if phase == "switching":
        await first.until(
            lambda: copy_of(first, call).move.phase == calls.MOVE_PHASE_SWITCHING or relay_of(first, call)
        )
    await first.kill()
    caller.statuses.clear()
    again = await caller.peer_request("INVITE") if phase == "switching" else None
    del again
    await second.until(lambda: relay_of(second, call) == "relay-1", 15)
    assert next(one.cseq.number for one in caller.requests if one.method == "ACK") == invite.cseq.number
    later = {one.cseq.number for one in caller.requests if one.method == "INVITE"} - {invite.cseq.number}
    if phase == "offering":
        assert later, "from another address it would be no retransmission"
    assert other_relay.sessions[call.call_id].is_started
    assert (await call.ask("BYE", second.sip)).status == 200


async def test_an_edge_at_the_same_address_sends_the_same_re_invite_again(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    first = await start_edge("edge-0")
    call = await established(first, caller)
    registry.relays.append(other_relay)
    caller.statuses["INVITE"] = None
    await relay.stop()
    invite = await caller.peer_request("INVITE")
    await first.kill()
    caller.statuses.clear()
    second = await start_edge("edge-0", sip_port=first.sip.port)
    await second.until(lambda: relay_of(second, call) == "relay-1", 15)
    copies = {(one.cseq.number, one.via.branch) for one in caller.requests if one.method == "INVITE"}
    assert copies == {(invite.cseq.number, invite.via.branch)}, "the same request again, no other"


async def test_after_a_crash_a_bot_that_cannot_resume_gets_a_new_stream_or_the_call_ends_by_route(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    route = registry.gateway.routes[0]
    route.bots[0].endpoint = "bot.example:9090"
    route.on_bot_lost = config.ON_BOT_LOST_END
    relay.can_resume = False
    edge = await start_edge()
    call = await established(edge, caller)
    registry.relays.append(other_relay)
    await relay.stop()
    assert await caller.peer_request("BYE")
    assert call.call_id not in other_relay.sessions


async def test_a_relay_that_was_left_in_vain_keeps_the_call_of_a_caller_that_refuses(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, caller: Caller
) -> None:
    """The relay froze for a second and still has the session, so the call gets no BYE."""
    caller.statuses["INVITE"] = None
    relay.freeze()
    invite = await caller.peer_request("INVITE")
    relay.thaw()
    await edge.until(lambda: not edge.app.relays.is_silent(identity_of(copy_of(edge, call).media.relay)))
    caller.statuses["INVITE"] = 488
    caller._answer(invite, edge.sip)
    await edge.until(lambda: relay_of(edge, call) == "relay-0")
    assert all(one.method != "BYE" for one in caller.requests)
    assert (await call.ask("BYE", edge.sip)).status == 200


async def test_new_calls_avoid_a_relay_that_says_nothing(
    edge: TestEdge, call: CallerDialog, relay: FakeRelay, caller: Caller
) -> None:
    """The relay's lease is valid, so the registry would place new calls there."""
    relay.freeze()
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    began = asyncio.get_running_loop().time()
    other = await established(edge, caller)
    assert relay_of(edge, other) == "relay-1"
    assert asyncio.get_running_loop().time() - began < 1.0, "nobody waited for its answer"


async def test_moves_are_paced(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    edge = await start_edge("edge-0", limits=EdgeLimits(moves_per_s=2))
    made = [await established(edge, caller) for _ in range(4)]
    registry.relays.append(other_relay)
    loop = asyncio.get_running_loop()
    await relay.stop()
    await caller.peer_request("INVITE", 1)
    began = loop.time()
    await caller.peer_request("INVITE", 4)
    assert loop.time() - began > 1.0
    await edge.until(lambda: all(relay_of(edge, one) == "relay-1" for one in made))


async def test_a_move_is_a_span_and_is_counted(
    call: CallerDialog, edge: TestEdge, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(
        "sipgw.sip_edge.move.outcomes.record_span",
        lambda name, _parent, _start, _end, attributes: spans.append((name, attributes)),
    )
    before = moves_counted("relay_lost", "moved")
    await relay.stop()
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    await edge.until(lambda: bool(spans))
    assert moves_counted("relay_lost", "moved") == before + 1
    name, attributes = spans[0]
    assert name == "re-anchor"
    assert attributes["sipgw.move.from"] == "relay-0"
    assert attributes["sipgw.move.to"] == "relay-1"


def moves_counted(cause: str, outcome: str) -> float:
    value = REGISTRY.get_sample_value("sipgw_edge_moves_total", {"cause": cause, "outcome": outcome})
    return value or 0.0


async def test_a_call_whose_edge_died_with_its_relay_is_moved_by_the_edge_that_claims_it(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    """The claiming edge knows that the relay is lost, as its own calls left the relay before the claim."""
    first, second = await start_edge("edge-a"), await start_edge("edge-b")
    await second.until(lambda: len(second.app.edges.live) == 1)
    stranded = await established(first, caller)
    moved_before = await established(second, caller)
    registry.relays.append(other_relay)
    await first.kill()
    await relay.stop()
    await second.until(lambda: relay_of(second, moved_before) == "relay-1")
    await second.until(lambda: relay_of(second, stranded) == "relay-1")
    assert (await stranded.ask("BYE", second.sip)).status == 200


async def test_a_call_that_lost_edge_and_relay_together_does_not_wait_for_the_edges_lease(
    start_edge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    first, second = await start_edge("edge-a"), await start_edge("edge-b")
    await second.until(lambda: len(second.app.edges.live) == 1)
    call = await established(first, caller)
    registry.relays.append(other_relay)
    await second.until(second.app.leases.may_judge)
    await first.kill()
    relay.freeze()
    await second.until(lambda: relay_of(second, call) == "relay-1")
    assert second.app.edges.live, "the lease of the dead edge still stands"
    assert (await call.ask("BYE", second.sip)).status == 200
    relay.thaw()


async def test_a_call_whose_relay_answers_is_left_to_a_silent_edge_until_its_lease_lapses(
    start_edge, relay: FakeRelay, caller: Caller
) -> None:
    first, second = await start_edge("edge-a"), await start_edge("edge-b")
    await second.until(lambda: len(second.app.edges.live) == 1)
    call = await established(first, caller)
    await first.kill()
    await second.until(lambda: copy_of(second, call) is not None)
    assert not second.app.edges.live
    assert relay_of(second, call) == "relay-0"


async def test_a_node_whose_relays_all_fall_silent_is_left_for_another_at_once(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    """The two relays with calls prove nothing about each other, so the edge listens to a third one on another
    node.
    """
    elsewhere = FakeRelay("relay-2", "192.0.2.12", node="n2")
    await elsewhere.start()
    relay.node = other_relay.node = "n1"
    first = await established(edge, caller)
    registry.relays[:] = [other_relay, relay, elsewhere]
    second = await established(edge, caller)
    assert [relay_of(edge, one) for one in (first, second)] == ["relay-0", "relay-1"]
    await edge.until(lambda: elsewhere.dialled > 0)
    relay.freeze()
    other_relay.freeze()
    await edge.until(lambda: [relay_of(edge, one) for one in (first, second)] == ["relay-2", "relay-2"])
    await elsewhere.stop()


async def test_a_call_leaves_the_node_of_its_silent_relay(
    edge: TestEdge, call: CallerDialog, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay
) -> None:
    """The registry would place it on the next relay of that node, whose lease is valid for seconds yet."""
    elsewhere = FakeRelay("relay-2", "192.0.2.12", node="n2")
    await elsewhere.start()
    relay.node = other_relay.node = "n1"
    registry.relays.append(elsewhere)
    await edge.until(lambda: elsewhere.dialled > 0)
    relay.freeze()
    await edge.until(lambda: relay_of(edge, call) == "relay-2")
    assert other_relay.commands(call.call_id) == []
    await elsewhere.stop()


async def test_a_doubtful_relay_with_the_last_room_is_better_than_none(
    edge: TestEdge, call: CallerDialog, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay
) -> None:
    """It is on the node of the dead relay, and the relay on the other node is full."""
    relay.node = other_relay.node = "n1"
    full = FakeRelay("relay-2", "192.0.2.12", node="n2")
    registry.relays.append(full)

    async def fill(command: registry_api.PlacementCommand) -> None:
        command.avoid_relays.append(full.incarnation)

    registry.on_place = fill
    await relay.stop()
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
