"""Several pods behind one name: calls are spread, fail over, prefer a pod and avoid full pods."""

from collections import Counter

import pytest

from sipgw.bot import Call
from sipgw.bot.echo import EchoServicer

LOOPBACK_PODS = ("127.0.0.1", "127.0.0.2")


@pytest.fixture
async def pods(bots):
    """Two bots with one port on two addresses, and a resolver that gives both."""
    one = await bots(EchoServicer())
    two = await bots(EchoServicer(), port=one.port, host="127.0.0.2")
    return one, two


def resolver_of(addresses: list[str]):
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return tuple(f"{address}:{port}" for address in addresses)

    return resolve


async def test_calls_are_spread_over_all_pods(new_relay, pods):
    one, two = pods
    relay = new_relay(resolve=resolver_of(list(LOOPBACK_PODS)))
    for handle in range(1, 11):
        relay.open(handle, f"bots.example:{one.port}")
        await relay.sessions.told_of("ready", handle)
    by_pod = Counter(entry[3] for entry in relay.sessions.told if entry[0] == "ready")
    assert by_pod == {one.address: 5, two.address: 5}
    await relay.converse(range(1, 11), frames=3)


async def test_calls_of_a_pod_that_dies_go_to_the_other(new_relay, pods):
    one, two = pods
    relay = new_relay(resolve=resolver_of(list(LOOPBACK_PODS)))
    for handle in (1, 2):
        relay.open(handle, f"bots.example:{one.port}")
        await relay.sessions.told_of("ready", handle)
    lost = next(e[1] for e in relay.sessions.told if e[0] == "ready" and e[3] == one.address)
    kept = 3 - lost
    await one.die()
    await relay.sessions.until(lambda: relay.sessions.names(lost).count("ready") == 2)
    assert [e[3] for e in relay.sessions.told if e[:2] == ("ready", lost)][-1] == two.address
    assert relay.sessions.names(kept) == ["ready"]
    await relay.converse([1, 2], frames=3)


async def test_the_preferred_pod_is_taken_when_it_is_there(new_relay, pods):
    one, two = pods
    relay = new_relay(resolve=resolver_of(list(LOOPBACK_PODS)))
    for handle in (1, 2, 3):
        relay.open(handle, f"bots.example:{one.port}", preferred_address=two.address)
        assert (await relay.sessions.told_of("ready", handle))[3] == two.address


async def test_a_bot_that_is_stopping_or_full_passes_the_call_to_another_pod(new_relay, sdk_bots):
    async def echo(call: Call) -> None:
        async for frame in call.frames():
            await call.play_raw(frame.data)

    port = int((await sdk_bots(echo, max_calls=1)).rpartition(":")[2])
    await sdk_bots(echo, host="127.0.0.2", port=port, max_calls=2)
    relay = new_relay(resolve=resolver_of(list(LOOPBACK_PODS)))
    for handle in (1, 2, 3):
        relay.open(handle, f"bots.example:{port}")
        await relay.sessions.told_of("ready", handle)
    relay.open(4, f"bots.example:{port}", ready_timeout_ms=500)
    failed = await relay.sessions.told_of("failed", 4)
    assert "as many calls" in failed[2] or "no more than" in failed[2]


async def test_a_name_that_does_not_resolve_fails_with_the_name(new_relay):
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return ()

    relay = new_relay(resolve=resolve)
    relay.open(1, "nowhere.example:9090", ready_timeout_ms=200)
    assert "nowhere.example" in (await relay.sessions.told_of("failed", 1))[2]
