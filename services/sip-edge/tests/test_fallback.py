"""A bot that does not come: the route's fallback bots in turn, then the route's status."""

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge, gateway_config
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.sip_edge.call.fallback import next_endpoint

OWN, FIRST, SECOND = "own:1", "spare-a:1", "spare-b:1"


@pytest.fixture
def gateway() -> config.GatewayConfig:
    return gateway_config(
        bots=[config.BotTarget(endpoint=OWN, weight=1)],
        fallback_bots=[
            config.BotTarget(endpoint=FIRST, weight=1, tls=True),
            config.BotTarget(endpoint=SECOND, weight=1),
        ],
        no_bot_status=503,
    )


def tried(relay: FakeRelay) -> list[str]:
    return [one.command.allocate.bot.endpoint for one in relay.handled if one.command.HasField("allocate")]


async def test_the_fallback_takes_the_call_on_the_same_port(
    edge: TestEdge, caller: Caller, relay: FakeRelay
) -> None:
    relay.absent_bots = {OWN}
    call = await CallerDialog.established(caller, edge.sip)
    assert len(relay.sessions) == 1
    asked = tried(relay)
    assert asked[0] == OWN
    assert asked[1] in (FIRST, SECOND)
    record = edge.app.records.copy_of(call.call_id)
    assert record is not None
    assert (record.bot.endpoint, record.bot.ready) == (asked[1], True)
    spec = relay.sessions[call.call_id].spec.bot
    assert (spec.endpoint, spec.tls, spec.epoch) == (asked[1], asked[1] == FIRST, 1)
    assert str(relay.sessions[call.call_id].rtp_port).encode() in call.ok.body


async def test_each_is_tried_once_and_then_the_routes_status_is_the_answer(
    edge: TestEdge, caller: Caller, relay: FakeRelay
) -> None:
    relay.absent_bots = {OWN, FIRST, SECOND}
    invite = caller.invite()
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    assert (refusal.status, refusal.headers.get("Retry-After")) == (503, "2")
    assert sorted(tried(relay)) == [OWN, FIRST, SECOND]
    assert tried(relay)[0] == OWN


async def test_a_call_that_was_answered_at_once_gets_the_fallback_too(
    start_edge, caller: Caller, relay: FakeRelay, gateway: config.GatewayConfig
) -> None:
    gateway.routes[0].answer = config.ANSWER_MODE_IMMEDIATE
    relay.absent_bots = {OWN}
    edge = await start_edge()
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: len(tried(relay)) == 2)
    await edge.until(lambda: relay.sessions[call.call_id].spec.bot.endpoint in (FIRST, SECOND))
    assert (await call.ask("BYE", edge.sip)).status == 200


async def test_answered_at_once_and_no_bot_at_all_is_a_bye(
    start_edge, caller: Caller, relay: FakeRelay, gateway: config.GatewayConfig
) -> None:
    gateway.routes[0].answer = config.ANSWER_MODE_IMMEDIATE
    relay.absent_bots = {OWN, FIRST, SECOND}
    edge = await start_edge()
    call = await CallerDialog.established(caller, edge.sip)
    await caller.peer_request("BYE")
    await edge.until(lambda: not len(edge.app.live))
    record = await edge.app.records.load(call.call_id)
    assert record is not None
    assert record.end_cause == calls.END_CAUSE_BOT_LOST


async def test_a_bot_lost_in_the_midst_of_a_call_has_no_fallback(
    edge: TestEdge, caller: Caller, relay: FakeRelay
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    relay.emit(call.call_id, bot_failed={"reason": "gone", "before_ready": False})
    await caller.peer_request("BYE")
    assert tried(relay) == [OWN]


def test_the_order_follows_from_the_call_alone() -> None:
    route = gateway_config(fallback_bots=[config.BotTarget(endpoint=FIRST, weight=1)]).routes[0]
    assert next_endpoint(route, "c1", OWN) == FIRST
    assert next_endpoint(route, "c1", FIRST) is None
    route.fallback_bots.add(endpoint=SECOND, weight=1)
    orders = {(next_endpoint(route, f"c{n}", OWN), n) for n in range(40)}
    assert {one for one, _ in orders} == {FIRST, SECOND}
    for first, n in orders:
        second = next_endpoint(route, f"c{n}", first or "")
        assert {first, second} == {FIRST, SECOND}
        assert next_endpoint(route, f"c{n}", second or "") is None
