"""A rolling update of the edges under calls ends no call, and every caller is heard afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone, PhoneCall
from gatewaykit.rtp import FRAME, SILENCE, noise

from sipgw.runtime.patience import patient

pytestmark = pytest.mark.system
LONGEST_STOP_S = 5.0  # on a quiet machine


@pytest.fixture
def one_edge(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, edges=1, relays=1, calls_per_relay=20, in_cluster=True).start()
    gateway.mark()
    yield gateway
    gateway.kill()


async def hears_itself(call: PhoneCall, seed: int, seconds: float = 1.0) -> bool:
    audio = noise(seconds, seed)
    call.rtp.received.clear()
    await call.rtp.stream(audio, call.media)
    return await call.rtp.hears(audio, 0.5)


@asynccontextmanager
async def breathing(calls: list[PhoneCall]) -> AsyncIterator[None]:
    """Let each caller send a frame of silence now and then.

    A caller that sends nothing for 30 s gets a BYE, and on a busy machine a roll takes longer.
    """

    async def breathe() -> None:
        while True:
            for call in calls:
                if not call.ended.is_set():
                    call.rtp.send(bytes([SILENCE]) * FRAME, call.media)
            await asyncio.sleep(2)

    task = asyncio.create_task(breathe())
    yield
    task.cancel()


async def stop(gateway: Gateway, edge: int) -> None:
    """Send SIGTERM and await the end, in time, while the loop of this test runs on."""
    began = time.monotonic()
    assert await asyncio.to_thread(gateway.edges[edge].stop) == 0
    took_s = time.monotonic() - began
    assert took_s < patient(LONGEST_STOP_S), f"edge-{edge} took {took_s:.1f} s to leave"


async def owners(gateway: Gateway) -> dict[str, str]:
    return {call.sip_call_id: call.owner.incarnation for call in await gateway.calls()}


async def are_owned(gateway: Gateway, calls: list[PhoneCall]) -> bool:
    """Whether each call is owned by an edge that runs now, by the incarnations in the edges' logs."""
    found = await owners(gateway)
    live = {
        line for edge in gateway.edges if edge.is_running for line in [str(edge.ready.get("incarnation"))]
    }
    return all(found.get(call.call_id) in live for call in calls)


async def operator_hangs_up(gateway: Gateway, call: PhoneCall) -> bool:
    client = gateway.client()
    try:
        ids = {one.sip_call_id: one.call_id for one in await client.list_calls()}
        return await client.hangup_call(ids[call.call_id], "test")
    finally:
        await client.aclose()


async def test_edges_are_rolled_one_after_the_other_under_twenty_calls(
    cluster_gateway: Gateway, phone: Phone
) -> None:
    gateway = cluster_gateway
    calls = [await phone.call("builtin", gateway.sip(n % 2)) for n in range(20)]
    async with breathing(calls):
        for edge in (0, 1):
            await stop(gateway, edge)
            assert await hears_itself(calls[edge], seed=50 + edge), "media needs no edge"
            await asyncio.to_thread(gateway.start_edge, edge)
            await eventually(lambda: are_owned(gateway, calls), 10)
    assert not [call.call_id for call in calls if call.ended.is_set()], "somebody was hung up on"
    heard = await asyncio.gather(*(hears_itself(call, seed=60 + n) for n, call in enumerate(calls[:6])))
    assert all(heard)
    for number, call in enumerate(calls):
        call.destination = gateway.sip((number + 1) % 2)
        if number % 3 == 0:
            assert (await call.bye()).status == 200
        elif number % 3 == 1:
            assert (await call.reinvite("sendonly")).status == 200
        else:
            await eventually(lambda call=call: operator_hangs_up(gateway, call), 5)
            await call.wait_ended(5)


async def test_the_only_edge_is_restarted_and_its_calls_wait_for_it(one_edge: Gateway, phone: Phone) -> None:
    gateway = one_edge
    calls = [await phone.call("builtin", gateway.sip(0)) for _ in range(6)]
    await stop(gateway, 0)
    talking = [
        asyncio.create_task(hears_itself(call, seed=80 + n, seconds=4.0)) for n, call in enumerate(calls)
    ]
    await asyncio.gather(*talking)
    assert all(task.result() for task in talking), "without an edge the relay keeps its sessions"
    async with breathing(calls):
        await asyncio.to_thread(gateway.start_edge, 0)
        assert (await calls[0].bye()).status == 200, "before anybody has claimed the call"
        await eventually(lambda: are_owned(gateway, calls[1:]), 10)
    assert not [call.call_id for call in calls[1:] if call.ended.is_set()]
    assert (await calls[1].reinvite("sendonly")).status == 200
    assert await operator_hangs_up(gateway, calls[2])
    await calls[2].wait_ended(5)
    assert all([(await call.bye()).status == 200 for call in calls[3:]])
