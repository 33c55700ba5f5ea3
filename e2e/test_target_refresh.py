"""An edge dies and one at another address claims its calls: callers follow, and their audio goes on."""

import asyncio
from pathlib import Path

import pytest
from gatewaykit.callers import answered
from gatewaykit.foreign import needs_pjsip
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone
from gatewaykit.pjsip import PjsipClient
from gatewaykit.rtp import noise, worst_gap
from gatewaykit.speech import make_speech

from sipgw.siptest import SipPhone

pytestmark = pytest.mark.system


def uri(gateway: Gateway, edge: int) -> str:
    host, port = gateway.sip(edge)
    return f"sip:builtin@{host}:{port}"


async def has_logged(gateway: Gateway, edge: int, event: str, count: int) -> None:
    async def so_often() -> bool:
        return sum(line["event"] == event for line in gateway.edges[edge].lines()) >= count

    await eventually(so_often, 45)


async def edge_dies(gateway: Gateway, calls: int) -> None:
    """Kill edge 0 once it has the ACKs of all its calls, and wait until edge 1 has claimed them."""
    await has_logged(gateway, 0, "call_established", calls)
    gateway.edges[0].kill()
    await has_logged(gateway, 1, "target_refreshed", calls)


async def has_no_calls(gateway: Gateway) -> None:
    async def is_empty() -> bool:
        return not await gateway.calls()

    await eventually(is_empty, 10)


async def test_after_an_edges_death_callers_hang_up_hold_and_refresh_at_the_other(
    own_gateway: Gateway,
) -> None:
    """Every request goes to the dialog's target, which would be the dead edge without a refresh."""
    async with await SipPhone.open() as phone:
        calls = [await answered(phone, uri(own_gateway, 0)) for _ in range(6)]
        await edge_dies(own_gateway, len(calls))
        await calls[0].hangup()
        await calls[1].hold()
        await calls[1].resume()
        assert (await calls[2].request("UPDATE")).status == 200
        assert (await calls[3].request("OPTIONS")).status == 200
        await asyncio.gather(*(call.hangup() for call in calls[1:]))
    await has_no_calls(own_gateway)


async def test_the_callers_audio_does_not_stop(own_gateway: Gateway, phone: Phone) -> None:
    call = await phone.call("builtin", own_gateway.sip(0))
    audio = noise(12, seed=91)
    talking = asyncio.create_task(call.rtp.stream(audio, call.media))
    await asyncio.sleep(1)
    await edge_dies(own_gateway, 1)
    assert call.moves == [], "its media stays where it is"
    await talking
    assert worst_gap(call.rtp, audio) < 0.5
    call.destination = own_gateway.sip(1)
    assert (await call.bye()).status == 200


@pytest.mark.pjsip
@needs_pjsip
async def test_pjsip_follows_to_the_other_edge(own_gateway: Gateway, tmp_path: Path) -> None:
    make_speech(tmp_path / "said.wav", seed=7)
    async with PjsipClient() as client:
        client.do("call", uri=uri(own_gateway, 0), play=str(tmp_path / "said.wav"))
        await client.expect("state", state="CONFIRMED")
        await client.expect("media", status="active")
        await edge_dies(own_gateway, 1)
        client.do("hold")
        await client.expect("media", status="local_hold")
        seen = len(client.events)
        client.do("resume")
        await client.expect("media", status="active", after=seen)
        client.do("hangup")
        await client.expect("state", state="DISCONNECTED", status=200)
    await has_no_calls(own_gateway)
