"""Redis goes away, returns empty, or loses data: calls go on, new ones are refused, the records return."""

from edge_kit.caller import HELD_SDP, Caller, CallerDialog
from edge_kit.edges import TestEdge, eventually
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.calls import CallStore
from sipgw.store import Store
from sipgw.store.testing import RedisServer


async def established(caller: Caller, edge: TestEdge) -> CallerDialog:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: _state(edge, call) == calls.CALL_STATE_ESTABLISHED)
    return call


def _state(edge: TestEdge, call: CallerDialog) -> int | None:
    record = edge.app.records.copy_of(call.call_id)
    return record.state if record is not None else None


async def _away(edge: TestEdge, redis: RedisServer) -> None:
    redis.stop()
    await edge.until(lambda: edge.app.records.is_away)


async def _held_by_redis(redis: RedisServer, call_id: str) -> calls.CallSession | None:
    store = await Store.connect(redis.url)
    try:
        return await CallStore(store).load(call_id)
    finally:
        await store.aclose()


async def test_a_bye_is_answered_without_redis_and_the_end_told_on_its_return(
    edge: TestEdge, redis: RedisServer, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, edge)
    await _away(edge, redis)
    assert (await call.ask("BYE", edge.sip)).status == 200
    await edge.until(lambda: not len(edge.app.live))
    assert relay.sessions == {}

    redis.start()
    await edge.until(lambda: not edge.app.records.is_away)
    held = await _held_by_redis(redis, call.call_id)
    assert held is not None
    assert (held.state, held.end_cause) == (calls.CALL_STATE_ENDED, calls.END_CAUSE_CALLER_HANGUP)


async def test_a_reinvite_is_served_without_redis_and_journaled(
    edge: TestEdge, redis: RedisServer, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, edge)
    await _away(edge, redis)
    ok = await call.ask("INVITE", edge.sip, body=HELD_SDP)
    assert ok.status == 200
    call.ack(edge.sip, cseq=ok.cseq.number)
    assert relay.sessions[call.call_id].media.direction == relay_api.MEDIA_DIRECTION_RECVONLY

    redis.start()
    await edge.until(lambda: not edge.app.records.is_away)
    held = await _held_by_redis(redis, call.call_id)
    assert held is not None
    assert held.legs[0].on_hold
    assert held == edge.app.records.copy_of(call.call_id)


async def test_a_bot_that_hangs_up_is_obeyed_without_redis(
    edge: TestEdge, redis: RedisServer, relay: FakeRelay, caller: Caller
) -> None:
    call = await established(caller, edge)
    await _away(edge, redis)
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup(reason="done"))
    await caller.peer_request("BYE")


async def test_a_stale_owner_without_redis_is_stopped_by_the_relays_fence(
    edge: TestEdge, redis: RedisServer, relay: FakeRelay, caller: Caller
) -> None:
    """Cut off from Redis alone, it cannot know that its call was claimed; the relay does."""
    call = await established(caller, edge)
    await _away(edge, redis)
    relay.sessions[call.call_id].owner_epoch = 2
    await edge.app.deadlines.obey(edge.app.records.copy_of(call.call_id) or calls.CallSession())
    await edge.until(lambda: not len(edge.app.live))
    assert not [one for one in caller.requests if one.method == "BYE"]
    assert call.call_id in relay.sessions


async def test_new_calls_get_503_with_retry_after_and_are_taken_again(
    edge: TestEdge, redis: RedisServer, caller: Caller
) -> None:
    await _away(edge, redis)
    invite = caller.invite()
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert refusal.status == 503
    assert refusal.headers.get("Retry-After")

    redis.start()
    await edge.until(lambda: not edge.app.records.is_away)
    await CallerDialog.established(caller, edge.sip)


async def test_a_redis_that_never_answers_is_away_too(
    edge: TestEdge, redis: RedisServer, caller: Caller
) -> None:
    call = await established(caller, edge)
    redis.freeze()
    try:
        await edge.until(lambda: edge.app.records.is_away)
        assert (await call.ask("BYE", edge.sip)).status == 200
    finally:
        redis.thaw()
    await edge.until(lambda: not edge.app.records.is_away and not len(edge.app.live))
    held = await _held_by_redis(redis, call.call_id)
    assert held is not None
    assert held.state == calls.CALL_STATE_ENDED


async def test_flushall_under_twenty_calls_byes_are_answered_and_records_are_back(
    edge: TestEdge, redis: RedisServer, caller: Caller
) -> None:
    established_calls = [await established(caller, edge) for _ in range(20)]
    redis.flush()
    assert (await established_calls[0].ask("BYE", edge.sip)).status == 200
    for call in established_calls[1:]:
        await _until_held(edge, redis, call.call_id)
    for call in established_calls[1:]:
        assert (await call.ask("BYE", edge.sip)).status == 200
    await edge.until(lambda: not len(edge.app.live))


async def _until_held(edge: TestEdge, redis: RedisServer, call_id: str) -> None:
    async def is_held() -> bool:
        return await _held_by_redis(redis, call_id) is not None

    await eventually(is_held)


async def test_a_call_of_another_edge_is_handed_to_it_while_redis_is_away(
    start_edge, redis: RedisServer, relay: FakeRelay, caller: Caller
) -> None:
    a, b = await start_edge("edge-a"), await start_edge("edge-b")
    await b.until(lambda: len(b.app.edges.live) == 1)
    call = await established(caller, a)
    await _away(b, redis)
    await a.until(lambda: a.app.records.is_away)
    assert (await call.ask("BYE", b.sip)).status == 200
    await a.until(lambda: not len(a.app.live))
    assert relay.sessions == {}


async def test_nobody_has_the_call_and_redis_is_away_try_later(
    edge: TestEdge, redis: RedisServer, caller: Caller
) -> None:
    await _away(edge, redis)
    request = caller.request("BYE", to=f"<sip:bot@127.0.0.1>;tag={'a' * 32}.1")
    caller.send(request, edge.sip)
    refusal = await caller.response(request)
    assert refusal.status == 500
    assert refusal.headers.get("Retry-After")


async def test_an_ended_call_is_not_brought_back_by_the_edge_that_missed_its_end(
    edge: TestEdge, redis: RedisServer, caller: Caller
) -> None:
    call = await established(caller, edge)
    mine = edge.app.records.copy_of(call.call_id)
    assert mine is not None
    edge.app.journal.open("test: this edge alone is cut off")
    store = await Store.connect(redis.url)
    other = CallStore(store)
    ended = calls.CallSession()
    ended.CopyFrom(mine)
    ended.end_cause = calls.END_CAUSE_CALLER_HANGUP
    await other.end(ended)
    await store.aclose()
    ok = await call.ask("INFO", edge.sip)  # moves the copy on, past the tombstone's version
    assert ok.status == 200
    await edge.until(lambda: not edge.app.records.is_away)
    held = await _held_by_redis(redis, call.call_id)
    assert held is not None
    assert held.state == calls.CALL_STATE_ENDED
    await edge.until(lambda: not len(edge.app.live))
