"""Limits of calls, and bots that are not ready, with two real edges and a real registry."""

import asyncio

import pytest
from gatewaykit.callers import answered
from gatewaykit.gateway import Gateway, eventually

from sipgw.siptest import CallRefused, SipPhone, echo_latency, speech_like

pytestmark = pytest.mark.system


def uri(gateway: Gateway, user: str, edge: int = 0) -> str:
    host, port = gateway.sip(edge)
    return f"sip:{user}@{host}:{port}"


async def counted(gateway: Gateway, number: int) -> None:
    """Wait until the registry has that many calls, and no edge uses an older count."""

    async def has() -> bool:
        return sum(call.route == "narrow" for call in await gateway.calls()) == number

    await eventually(has, 10)
    await asyncio.sleep(0.25)


async def test_a_routes_limit_holds_over_all_edges(gateway: Gateway) -> None:
    async with await SipPhone.open() as phone:
        first = await answered(phone, uri(gateway, "narrow", 0))
        await counted(gateway, 1)
        second = await answered(phone, uri(gateway, "narrow", 1))
        await counted(gateway, 2)
        for edge in (0, 1):
            with pytest.raises(CallRefused) as refused:
                await phone.call(uri(gateway, "narrow", edge))
            assert refused.value.status == 503
        await first.hangup()
        await counted(gateway, 1)
        third = await answered(phone, uri(gateway, "narrow", 1))
        await asyncio.gather(second.hangup(), third.hangup())


async def test_a_bot_that_is_not_there_is_replaced_by_the_fallback(gateway: Gateway) -> None:
    async with await SipPhone.open() as phone:
        call = await answered(phone, uri(gateway, "spare"), audio=speech_like(1.0))
        await call.played()
        await asyncio.sleep(0.3)
        await call.hangup()
        latency = echo_latency(call.media)
        assert latency is not None
        assert latency.found >= 0.7 * latency.expected
