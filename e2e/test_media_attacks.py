"""Strangers try to take over a call, and callers to send its voice to a third party."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest
from gatewaykit.gateway import Gateway
from gatewaykit.outside import Outside, why_not
from gatewaykit.phone import Phone, PhoneCall, may_be_late
from gatewaykit.rtp import RtpPort, noise
from gatewaykit.up import Up

from sipgw.runtime.patience import patient

pytestmark = pytest.mark.system


# -- a stranger takes the call before its caller speaks


@pytest.mark.parametrize("host", ["127.0.0.9", "127.0.0.1"])
async def test_a_spray_before_the_caller_speaks_does_not_get_the_call(
    gateway: Gateway, phone: Phone, host: str
) -> None:
    call = await phone.call("builtin", gateway.sip())
    strangers = [await RtpPort.open(host) for _ in range(3)]
    try:
        for frame in range(20):  # 0.4 s
            for stranger in strangers:
                stranger.send(bytes([frame]) * 160, call.media)
            await asyncio.sleep(0.02)
        audio = noise(1.0, seed=3)
        await call.rtp.stream(audio, call.media)
        assert await call.rtp.hears(audio, 0.6)
        assert [stranger.received for stranger in strangers] == [[], [], []]
    finally:
        for stranger in strangers:
            stranger.close()
    assert (await call.bye()).status == 200


# -- the voice hammer: callers outside of this machine, and a third party beside them


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    if reason := why_not():
        pytest.skip(reason)
    with Outside.make() as outside:
        yield outside


@pytest.fixture
async def up(outside: Outside, tmp_path: Path) -> AsyncIterator[Up]:
    """A gateway with a trunk for one host and a trunk for all others."""
    document = tmp_path / "gateway.yaml"
    trunk = "apiVersion: sipgw.io/v1alpha1\nkind: SipTrunk\nmetadata: {{name: {}}}\nspec: {}\n"
    trunks = trunk.format("known", f"{{sourceCidrs: [{outside.known}]}}"), trunk.format("any", "{}")
    document.write_text("---\n".join(trunks))
    up = Up(tmp_path)
    await up.start("-f", str(document), "--no-recording", advertise=outside.ours)
    yield up
    await up.aclose()


class Abroad:
    """A caller outside of this machine, its port for audio, and a third party's port that its SDP names."""

    def __init__(self, outside: Outside, up: Up, phone: Phone, own: RtpPort, third: RtpPort) -> None:
        self._outside = outside
        self._gateway = (outside.ours, up.sip[0][1])
        self.phone = phone
        self.own = own
        self.third = third

    @classmethod
    @asynccontextmanager
    async def at(cls, outside: Outside, up: Up, host: str) -> AsyncIterator[Self]:
        loop = asyncio.get_running_loop()
        _, phone = await loop.create_datagram_endpoint(Phone, sock=outside.socket(host))
        _, own = await loop.create_datagram_endpoint(RtpPort, sock=outside.socket(host))
        _, third = await loop.create_datagram_endpoint(RtpPort, sock=outside.socket(outside.third))
        yield cls(outside, up, phone, own, third)
        await phone.aclose()
        own.close()
        third.close()

    async def call(self, named: str, port: RtpPort) -> PhoneCall:
        """Make a call, not yet begun, whose SDP names that host and that port."""
        call = await self.phone.new_call("echo", self._gateway)
        offer = call.offer().replace("127.0.0.1", named)
        call.sdp = offer.replace(f"m=audio {call.rtp.port}", f"m=audio {port.port}")
        call.acks_repeats = False
        return call

    async def answered(self, named: str, port: RtpPort, *, ack: bool = True) -> PhoneCall:
        """Place a call whose SDP names that host and that port, until it is answered."""
        deadline = time.monotonic() + patient(10)
        while True:
            call = await self.call(named, port)
            answer = await call.invite(ack=ack)
            if not may_be_late(answer.status, deadline):
                assert answer.status == 200
                return call
            await asyncio.sleep(1)

    async def hammer(self, host: str) -> int:
        """Send an INVITE without ACK; return how many packets the third party gets while the caller at `host`
        gets 130 of a call with ACK. After the ACK the third party gets more.
        """
        call = await self.answered(self._outside.third, self.third, ack=False)
        beside = await self.answered(host, self.own)
        await asyncio.wait_for(self.own.heard(130), patient(10))
        before = len(self.third.received)
        call.ack()
        await asyncio.wait_for(self.third.heard(before + 25), patient(5))
        assert (await call.bye()).status == (await beside.bye()).status == 200
        return before


async def test_a_third_party_is_not_flooded_by_an_invite_without_ack(up: Up, outside: Outside) -> None:
    async with (
        Abroad.at(outside, up, outside.unknown) as unknown,
        Abroad.at(outside, up, outside.known) as known,
    ):
        counts = await asyncio.gather(unknown.hammer(outside.unknown), known.hammer(outside.known))
        assert counts == [0, 100]

        for host in ("169.254.169.254", "255.255.255.255"):
            refused = await (await known.call(host, known.third)).invite()
            assert refused.status == 488
            assert host in refused["warning"]
        known.third.received.clear()
        broadcast = await known.call(outside.broadcast, known.third)
        await broadcast.invite()
        await known.answered(outside.known, known.own)
        await asyncio.wait_for(known.own.heard(len(known.own.received) + 25), patient(5))
        assert known.third.received == []
