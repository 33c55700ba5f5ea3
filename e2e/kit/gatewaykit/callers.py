"""Calls by a SipPhone to a running gateway: wait for the answer and the echo, on a busy machine too."""

import asyncio
import time
from typing import Unpack

from gatewaykit.phone import may_be_late
from sipgw.runtime.patience import patient
from sipgw.siptest import CallPhase, CallRefused, PhoneCall, SipPhone, echo_latency, speech_like
from sipgw.siptest.phone import InviteOptions


async def answered(phone: SipPhone, uri: str, **options: Unpack[InviteOptions]) -> PhoneCall:
    """Place a call and return it once it is answered.

    On a busy machine a relay whose audio is late takes no call, so a 503 is tried again, as it asks.
    """
    deadline = time.monotonic() + patient(10)
    while True:
        try:
            return await phone.call(uri, timeout_s=patient(10), **options)
        except CallRefused as refused:
            if not may_be_late(refused.status, deadline):
                raise
        await asyncio.sleep(1)


async def heard_back(call: PhoneCall, packets: int = 10) -> None:
    await call.changes.until(lambda: len(call.received.packets) >= packets, patient(10), "audio back")


async def outcome(call: PhoneCall) -> CallPhase:
    await call.changes.until(lambda: call.is_answered or call.has_ended, patient(10), "final answer")
    return call.phase


def uri_of(address: tuple[str, int]) -> str:
    return f"sip:echo@{address[0]}:{address[1]}"


async def speak_until_echoed(alice: SipPhone, uri: str) -> list[PhoneCall]:
    """Call and speak until the speech comes back; return the calls that it took, the last of them echoed.

    A second call is made only if the machine was too busy for the first: frames that this phone sends late,
    or the gateway plays late, are skipped, and a relay whose ticks come late takes no call.
    """
    calls: list[PhoneCall] = []
    while True:
        call = alice.invite(uri, audio=speech_like(1.5))
        if await outcome(call) is not CallPhase.ANSWERED:
            assert patient(1.0) > 1.0, f"refused on a quiet machine: {call.final_response}"
            await asyncio.sleep(1)
            continue
        calls.append(call)
        await call.played()
        await asyncio.sleep(0.3)
        await call.hangup()
        latency = echo_latency(call.media)
        if latency is not None and latency.found >= 0.8 * latency.expected:
            return calls
        assert len(calls) < 10, f"only {latency} came back"
        assert patient(1.0) > 1.0 or call.statistics().worst_own_clock_ms > 10, (
            f"{latency} on a quiet machine"
        )
