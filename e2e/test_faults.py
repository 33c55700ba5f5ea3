"""Processes and Redis die under calls. Each test has two edges and two relays of its own."""

import asyncio
import signal
from urllib.request import urlopen

import pytest
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone, PhoneCall
from gatewaykit.rtp import noise
from gatewaykit.service import Service

pytestmark = [pytest.mark.system, pytest.mark.slow]


async def calls_on(phone: Phone, gateway: Gateway, number: int, user: str = "builtin") -> list[PhoneCall]:
    """Place `number` calls, half of them at each edge."""
    return [await phone.call(user, gateway.sip(n % 2)) for n in range(number)]


async def hears_itself(call: PhoneCall, seed: int, seconds: float = 1.0) -> bool:
    audio = noise(seconds, seed)
    call.rtp.received.clear()
    await call.rtp.stream(audio, call.media)
    return await call.rtp.hears(audio, 0.5)


def metrics_of(service: Service) -> str:
    with urlopen(f"http://{service.ready['admin']}/metrics", timeout=5) as page:
        return page.read().decode()


async def listed(gateway: Gateway) -> set[str]:
    return {summary.sip_call_id for summary in await gateway.calls()}


async def takes_calls_again(phone: Phone, gateway: Gateway, *edges: int) -> None:
    """Wait until each of these edges takes a call, within ten seconds."""

    async def all_do() -> bool:
        return all([await takes_a_call(phone, gateway, edge) for edge in edges])

    await eventually(all_do, 10)


async def takes_a_call(phone: Phone, gateway: Gateway, edge: int) -> bool:
    call = await phone.new_call("builtin", gateway.sip(edge))
    if (await call.invite()).status != 200:
        return False
    await call.bye()
    return True


async def test_while_redis_is_away_calls_go_on_new_ones_get_503_and_all_is_well_when_it_returns(
    own_gateway: Gateway, phone: Phone
) -> None:
    gateway = own_gateway
    first, second, third = await calls_on(phone, gateway, 3)
    gateway.redis.stop()
    assert await hears_itself(first, seed=30), "media needs no Redis"
    refused = await phone.new_call("builtin", gateway.sip())
    answer = await refused.invite(timeout_s=8)
    assert answer.status == 503
    assert int(answer["retry-after"].split()[0]) > 0
    assert (await first.bye()).status == 200, "the owner edge serves the BYE from its copy"
    held = await second.reinvite("sendonly")
    assert held.status == 200
    gateway.redis.start()
    await takes_calls_again(phone, gateway, 0, 1)

    async def records_are_back() -> bool:
        now = await listed(gateway)
        return {second.call_id, third.call_id} <= now and first.call_id not in now

    await eventually(records_are_back, 10)
    assert (await second.bye()).status == 200
    third.destination = gateway.sip(1)
    assert (await third.bye()).status == 200


async def test_a_redis_that_answers_nothing_holds_nobody_up(own_gateway: Gateway, phone: Phone) -> None:
    gateway = own_gateway
    (call,) = await calls_on(phone, gateway, 1)
    gateway.redis.freeze()
    try:
        assert (await call.bye(timeout_s=6)).status == 200
        refused = await phone.new_call("builtin", gateway.sip())
        assert (await refused.invite(timeout_s=8)).status == 503
    finally:
        gateway.redis.thaw()
    await takes_calls_again(phone, gateway, 0)


async def test_flushall_under_twenty_calls_loses_none(own_gateway: Gateway, phone: Phone) -> None:
    gateway = own_gateway
    calls = await calls_on(phone, gateway, 20)

    async def all_listed() -> bool:
        return len(await listed(gateway)) == len(calls)

    await eventually(all_listed, 5)
    names = {summary.sip_call_id: summary.call_id for summary in await gateway.calls()}
    gateway.redis.flush()
    assert (await calls[0].bye()).status == 200, "BYE right after the flush"

    async def records_are_back() -> bool:
        keys = gateway.redis.ask(b"KEYS *:call:*")  # the registry's list would show what it had before
        return all(names[call.call_id].encode() in keys for call in calls[1:])

    await eventually(records_are_back, 10)
    assert await hears_itself(calls[1], seed=31)
    for number, call in enumerate(calls[1:]):
        call.destination = gateway.sip(number % 2)
        assert (await call.bye()).status == 200
    await takes_calls_again(phone, gateway, 0)


async def test_without_another_relay_the_calls_of_a_killed_one_end_cleanly(
    tight_gateway: Gateway, phone: Phone
) -> None:
    gateway = tight_gateway
    calls = [await phone.call("builtin", gateway.sip()) for _ in range(2)]
    gateway.relays[0].kill()
    for call in calls:
        await call.wait_ended(20)

    async def none_left() -> bool:
        return not await gateway.calls()

    await eventually(none_left, 10)


async def stall(relay: Service) -> None:
    """Let a process run a quarter of the time only, never still for so long that its calls would move."""
    while True:
        relay.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(0.3)
        finally:
            relay.signal(signal.SIGCONT)
        await asyncio.sleep(0.1)


async def test_a_relay_that_gets_no_core_refuses_new_calls_by_a_word_of_its_own_and_keeps_its_call(
    tight_gateway: Gateway, phone: Phone
) -> None:
    gateway = tight_gateway
    call = await phone.call("builtin", gateway.sip())
    stalling, client = asyncio.create_task(stall(gateway.relays[0])), gateway.client()

    async def is_late() -> bool:
        (relay,) = await client.list_relays()
        return relay.late and not relay.full and not relay.draining

    try:
        await eventually(is_late, 10)
        refusal = await (await phone.new_call("builtin", gateway.sip())).invite()
        assert (refusal.status, refusal["warning"]) == (503, '399 sipgw "No Relay: all late"')
        assert int(refusal["retry-after"]) > 0
    finally:
        stalling.cancel()
        await client.aclose()
    assert "sipgw_relay_late 1.0" in metrics_of(gateway.relays[0])
    await takes_calls_again(phone, gateway, 0)
    assert (await call.bye()).status == 200


async def test_the_calls_of_a_killed_relay_go_on_and_new_ones_go_elsewhere(
    own_gateway: Gateway, phone: Phone
) -> None:
    gateway = own_gateway
    calls = await calls_on(phone, gateway, 4)

    async def all_on_relay_0() -> bool:
        return [summary.relay.name for summary in await gateway.calls()] == ["relay-0"] * 4

    await eventually(all_on_relay_0, 3)  # low ordinals fill first; the list follows the records
    gateway.relays[0].kill()

    async def all_moved() -> bool:
        return all(len(call.moves) == 1 for call in calls)

    await eventually(all_moved, 5)
    for number, call in enumerate(calls):
        assert await hears_itself(call, seed=40 + number)
        assert (await call.bye()).status == 200
    call = await phone.call("builtin", gateway.sip(1))
    assert await hears_itself(call, seed=32)

    async def on_the_other() -> bool:
        return {summary.relay.name for summary in await gateway.calls()} == {"relay-1"}

    await eventually(on_the_other, 3)
    gateway.start_relay(0)

    async def is_back() -> bool:
        client = gateway.client()
        relays = await client.list_relays()
        await client.aclose()
        return sum(relay.healthy for relay in relays) == 2

    await eventually(is_back, 10)


async def test_an_edge_killed_in_mid_call_leaves_its_calls_to_the_other(
    own_gateway: Gateway, phone: Phone
) -> None:
    gateway = own_gateway
    mine = [await phone.call("builtin", gateway.sip(0)) for _ in range(5)]
    gateway.edges[0].kill()
    assert await hears_itself(mine[0], seed=33), "media goes on without its edge"
    mine[0].destination = gateway.sip(1)
    assert (await mine[0].bye()).status == 200, "any edge serves a BYE at once"

    async def all_claimed() -> bool:
        left = {call.call_id for call in mine[1:]}
        return {c.sip_call_id for c in await gateway.calls() if c.owner.name == "edge-1"} == left

    await eventually(all_claimed, 15)
    assert await hears_itself(mine[1], seed=34), "and after the claim"
    for call in mine[1:]:
        call.destination = gateway.sip(1)
        assert (await call.bye()).status == 200
    gateway.start_edge(0)
    await takes_calls_again(phone, gateway, 0)


async def test_a_bot_that_hangs_up_after_its_edge_died_is_obeyed_by_the_other_edge(
    own_gateway: Gateway, phone: Phone
) -> None:
    """The relay keeps the event until the edge that claims the call has acknowledged it."""
    gateway = own_gateway
    call = await phone.call("echo", gateway.sip(0))
    await call.rtp.stream(noise(0.5, seed=35), call.media)
    gateway.edges[0].kill()
    gateway.bot.stop()

    await call.wait_ended(35)


async def test_a_frozen_edge_that_wakes_does_nothing_stale(own_gateway: Gateway, phone: Phone) -> None:
    gateway = own_gateway
    call = await phone.call("builtin", gateway.sip(0))
    gateway.edges[0].signal(signal.SIGSTOP)

    async def is_claimed() -> bool:
        return [c.owner.name for c in await gateway.calls()] == ["edge-1"]

    await eventually(is_claimed, 15)
    gateway.edges[0].signal(signal.SIGCONT)

    async def knows() -> bool:
        return "sipgw_edge_calls 0.0" in await asyncio.to_thread(metrics_of, gateway.edges[0])

    await eventually(knows, 10)
    assert await hears_itself(call, seed=36)
    assert not call.ended.is_set(), "the edge that woke ended a call that is not its own"
    call.destination = gateway.sip(1)
    assert (await call.bye()).status == 200


async def test_a_registry_that_restarts_stops_no_call_and_takes_new_ones_again(
    own_gateway: Gateway, phone: Phone
) -> None:
    gateway = own_gateway
    (call,) = await calls_on(phone, gateway, 1)
    gateway.registry.kill()
    assert await hears_itself(call, seed=37)
    assert (await call.bye()).status == 200, "a BYE needs no registry"
    gateway.restart_registry()
    await takes_calls_again(phone, gateway, 0)


async def test_sigterm_says_bye_to_every_caller(own_gateway: Gateway, phone: Phone) -> None:
    gateway = own_gateway
    calls = await calls_on(phone, gateway, 4)
    stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
    for call in calls:
        await call.wait_ended(10)
    statuses = await stopping
    assert set(statuses.values()) == {0}, statuses
