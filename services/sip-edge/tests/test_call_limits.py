"""Limits on concurrent calls of the gateway and of a route's bots, over all edges: a fallback bot or 503."""

import asyncio

import pytest

from edge_kit.caller import Caller, CallerDialog, ack_failure
from edge_kit.edges import TestEdge, gateway_config
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.runtime.patience import patient
from sipgw.sip_edge.setup.call_limits import CallLimits

OWN, SPARE = "bot:1", "spare:1"


@pytest.fixture
def gateway() -> config.GatewayConfig:
    return gateway_config(max_calls=2, bots=[config.BotTarget(endpoint=OWN, weight=1)])


@pytest.fixture
def with_fallback(gateway: config.GatewayConfig) -> None:
    gateway.routes[0].fallback_bots.add(endpoint=SPARE, weight=1)


def endpoints(edge: TestEdge) -> list[str]:
    return sorted(record.bot.endpoint for record in edge.app.records.owned)


async def final_of(caller: Caller, edge: TestEdge) -> tuple[int, str | None]:
    invite = caller.invite()
    caller.send(invite, edge.sip)
    final = await caller.response(invite)
    if final.is_failure:
        ack_failure(caller, invite, final, edge.sip)
    return final.status, final.headers.get("Retry-After")


async def test_a_full_route_gets_503_until_a_call_ends(edge: TestEdge, caller: Caller) -> None:
    first = await CallerDialog.established(caller, edge.sip)
    await CallerDialog.established(caller, edge.sip)
    assert await final_of(caller, edge) == (503, "2")
    assert (await first.ask("BYE", edge.sip)).status == 200
    await edge.until(lambda: len(edge.app.records.owned) == 1)
    assert await final_of(caller, edge) == (200, None)


@pytest.mark.usefixtures("with_fallback")
async def test_what_a_full_route_has_no_room_for_goes_to_its_fallback(edge: TestEdge, caller: Caller) -> None:
    own = [await CallerDialog.established(caller, edge.sip) for _ in range(2)]
    for _ in range(2):
        await CallerDialog.established(caller, edge.sip)
    assert endpoints(edge) == [OWN, OWN, SPARE, SPARE]
    await own[0].ask("BYE", edge.sip)
    await edge.until(lambda: len(edge.app.records.owned) == 3)
    # calls at the fallback bot do not count as calls of the route's own bot
    await CallerDialog.established(caller, edge.sip)
    assert endpoints(edge) == [OWN, OWN, SPARE, SPARE]


async def test_calls_that_come_at_once_do_not_pass_the_limit(
    edge: TestEdge, caller: Caller, relay: FakeRelay
) -> None:
    finals = await asyncio.gather(*(final_of(caller, edge) for _ in range(12)))
    assert sorted(status for status, _ in finals) == [200] * 2 + [503] * 10
    assert len(relay.sessions) == 2


async def test_the_calls_of_other_edges_count(edge: TestEdge, caller: Caller, registry: FakeRegistry) -> None:
    registry.elsewhere = pb.CountCallsResponse(by_bot_elsewhere={f"default/{OWN}": 1, "other/bot:1": 9})
    await CallerDialog.established(caller, edge.sip)
    assert await final_of(caller, edge) == (503, "2")


async def test_a_refused_call_leaves_a_record_that_says_why(edge: TestEdge, caller: Caller) -> None:
    for _ in range(2):
        await CallerDialog.established(caller, edge.sip)
    invite = caller.invite()
    caller.send(invite, edge.sip)
    refusal = await caller.response(invite)
    ack_failure(caller, invite, refusal, edge.sip)
    record = await edge.app.records.load((refusal.to.tag or "")[:32])
    assert record is not None
    assert (record.end_cause, record.end_reason) == (calls.END_CAUSE_REJECTED, "Route Is Full")


async def test_without_the_registrys_word_the_own_calls_count(
    edge: TestEdge, caller: Caller, registry: FakeRegistry
) -> None:
    await CallerDialog.established(caller, edge.sip)
    await CallerDialog.established(caller, edge.sip)
    await registry.stop()
    assert await final_of(caller, edge) == (503, "2")


async def test_a_registry_that_stands_still_holds_no_call_up() -> None:
    async def never() -> pb.CountCallsResponse:
        await asyncio.Event().wait()
        raise AssertionError

    limits = CallLimits(list, never, ())
    async with asyncio.timeout(patient(1.0)):
        for _ in range(3):
            await limits.check_gateway(1)


async def test_a_route_without_a_limit_asks_nobody(
    start_edge, caller: Caller, gateway: config.GatewayConfig, registry: FakeRegistry
) -> None:
    gateway.routes[0].max_calls = 0
    edge = await start_edge()
    for _ in range(3):
        await CallerDialog.established(caller, edge.sip)
    assert registry.counted == 0


async def test_the_gateways_limit_is_that_of_all_edges(
    start_edge, caller: Caller, gateway: config.GatewayConfig, registry: FakeRegistry
) -> None:
    gateway.gateway.max_calls = 3
    registry.elsewhere = pb.CountCallsResponse(live_elsewhere=2)
    edge = await start_edge()
    invite = caller.invite()
    caller.send(invite, edge.sip)
    assert (await caller.response(invite)).status == 200
    assert await final_of(caller, edge) == (503, "2")
    again = caller.invite(call_id=invite.call_id, from_=invite.headers.get("From"))
    caller.send(again, edge.sip)
    assert (await caller.response(again)).status == 482  # the call exists already: a merged request


async def test_a_burst_asks_the_registry_once(edge: TestEdge, caller: Caller, registry: FakeRegistry) -> None:
    await asyncio.gather(*(final_of(caller, edge) for _ in range(12)))
    assert registry.counted <= 2
