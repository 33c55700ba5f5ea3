"""Callers outside the cluster: phones of ours that hold calls while things break, and what they noticed.

They talk in a thread of their own, so that a test may run kubectl, wait and look without a call noticing.
Each says a second of noise and is silent for a second, so that there is a pause to move a call in. A call is
lost when it ended and we did not end it, or when nothing is heard of it any more. A gap is the longest time
between two RTP packets: the relay sends in pauses too.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self, TypeVar

import numpy as np

from clusterkit.release import Address
from sipgw.audio import SamplesI16
from sipgw.sip import parse_uri
from sipgw.siptest import CallPhase, CallRefused, PhoneCall, SipPhone, SipTestError
from sipgw.siptest.resolve import destination_of, local_address_towards

_RATE_HZ = 8000
T = TypeVar("T")
_ALIVE_S = 1.5  # a call of which nothing came for so long is silent


def noise_and_pauses(seconds: int, seed: int = 0) -> SamplesI16:
    """A second of noise, a second of silence, and so on."""
    noise = np.random.default_rng(seed).integers(-8000, 8000, size=seconds * _RATE_HZ, dtype=np.int16)
    noise.reshape(seconds, _RATE_HZ)[1::2] = 0
    return noise


def address_towards(edge: Address) -> str:
    """The address of this machine that an edge sees."""
    return local_address_towards(destination_of(parse_uri(f"sip:{edge[0]}:{edge[1]}")))


@dataclass(frozen=True)
class Findings:
    """What became of the calls since `Callers.mark`."""

    calls: int
    lost: int
    worst_gap_ms: float
    moved: list[int]  # re-INVITEs that each call got
    why_lost: list[str]


class Callers:
    """`with Callers(edges) as callers`: what is still up at the end is hung up."""

    def __init__(self, edges: Sequence[Address], user: str = "test") -> None:
        self.edges = list(edges)
        self.user = user
        self.calls: list[PhoneCall] = []
        self.refused = 0
        self._marked_s = 0.0
        self._invites: dict[int, int] = {}
        self._phone: SipPhone
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="callers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._phone = self._run(SipPhone.open(address_towards(self.edges[0]), user="e2e"))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.hang_up()
            self._run(self._phone.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def dial(
        self,
        count: int,
        *,
        per_second: float = 5,
        seconds: int = 240,
        user: str | None = None,
        tries: int = 1,
    ) -> list[PhoneCall]:
        """`count` more calls, spread over the edges, all answered. Raises what the first refused one got.

        With `tries` a call that gets 503 is placed again, at the next edge, as carriers do; `refused` counts.
        """
        return self._run(self._dial(count, per_second, seconds, user or self.user, tries))

    def mark(self) -> None:
        """From here on gaps and moves are counted."""
        self._marked_s = time.monotonic()
        self._invites = {id(call): _reinvites(call) for call in self.calls}

    def rest(self, seconds: float) -> None:
        """Let them talk."""
        time.sleep(seconds)

    def findings(self) -> Findings:
        return self._run(self._findings())

    def hang_up(self, calls: Sequence[PhoneCall] | None = None) -> None:
        """BYE, by way of whichever edge answers."""
        chosen = list(self.calls if calls is None else calls)
        self._run(self._hang_up_all(chosen))
        self.calls = [call for call in self.calls if call not in chosen]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _dial(
        self, count: int, per_second: float, seconds: int, user: str, tries: int
    ) -> list[PhoneCall]:
        audio = noise_and_pauses(seconds)
        begun: list[asyncio.Task[PhoneCall]] = []
        for index in range(count):
            begun.append(asyncio.create_task(self._place(index, user, audio, tries)))
            await asyncio.sleep(1 / per_second)
        return list(await asyncio.gather(*begun))

    async def _place(self, index: int, user: str, audio: SamplesI16, tries: int) -> PhoneCall:
        for attempt in range(tries):
            host, port = self.edges[(index + attempt) % len(self.edges)]
            shift = random.randrange(_RATE_HZ)
            call = self._phone.invite(f"sip:{user}@{host}:{port}", audio=audio[shift:])
            try:
                await call.answered(20)
            except CallRefused as refusal:
                self.refused += 1
                if refusal.status != 503 or attempt == tries - 1:
                    raise
                await asyncio.sleep(1)
            else:
                self.calls.append(call)
                return call
        raise AssertionError("no try")

    async def _findings(self) -> Findings:
        reasons = [_why_lost(call) for call in self.calls]
        gaps = [self._gap_ms(call) for call, why in zip(self.calls, reasons, strict=True) if not why]
        moved = [_reinvites(call) - self._invites.get(id(call), 0) for call in self.calls]
        lost = [why for why in reasons if why]
        return Findings(len(self.calls), len(lost), max(gaps, default=0.0), moved, lost)

    async def _hang_up_all(self, calls: Sequence[PhoneCall]) -> None:
        await asyncio.gather(*(self._hang_up(call) for call in calls if not call.has_ended))

    def _gap_ms(self, call: PhoneCall) -> float:
        arrivals = [p.arrived_s for p in call.received.packets if p.arrived_s > self._marked_s]
        times = [max(self._marked_s, call.times.answered_s or 0.0), *arrivals, time.monotonic()]
        return max((b - a) * 1000 for a, b in pairwise(times))

    async def _hang_up(self, call: PhoneCall) -> None:
        for edge in [call.destination, *self.edges]:
            call.destination = edge
            with contextlib.suppress(SipTestError):
                await call.hangup(3)
                return
            call.phase = CallPhase.ANSWERED  # not ended: nobody answered the BYE


def _why_lost(call: PhoneCall) -> str:
    if call.has_ended:
        assert call.end is not None
        return f"ended by {call.end.by.value} {call.end.cause}".strip()
    packets = call.received.packets
    if not packets or time.monotonic() - packets[-1].arrived_s > _ALIVE_S:
        return "silent"
    return ""


def _reinvites(call: PhoneCall) -> int:
    return sum(request.method == "INVITE" for request in call.requests)
