"""Callers outside the cluster: phones of ours that hold calls while parts fail, and what they noticed.

They talk in a thread of their own, so that calls go on while a test runs kubectl or waits.
Each says a second of noise and is silent for a second, so that there is a pause to move a call in; with
`pauses=False` it never stops. A call is lost when it ended and we did not end it, or when nothing is heard
of it any more. A gap is the longest time between two RTP packets, since the relay sends in pauses too; of
callers without pauses, between two packets with the caller's own words, echoed.
"""

import asyncio
import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Self, TypeVar

from clusterkit.release import Address
from sipgw.sip import parse_uri
from sipgw.siptest import CallPhase, CallRefused, PhoneCall, SipPhone, SipTestError
from sipgw.siptest.resolve import destination_of, local_address_towards

_SECOND = 8000  # samples of PCMU, a byte each
_SILENCE = b"\xff"
_OWN = 32  # so many samples in a row occur in no other caller's noise
T = TypeVar("T")
_STANDSTILL_MS = 60.0
_ALIVE_S = 1.5  # a call that received nothing for so long is silent


def noise() -> bytes:
    """Make a second of noise in PCMU, without zero samples, which have two codes."""
    return random.randbytes(_SECOND).replace(b"\x7f", b"\x7e").replace(_SILENCE, b"\xfe")


def sip_id(call: PhoneCall) -> str:
    """The call's Call-ID, by which the registry knows it too."""
    return call.session.live.call_id


def address_towards(edge: Address) -> str:
    """Find the address of this machine that an edge sees."""
    return local_address_towards(destination_of(parse_uri(f"sip:{edge[0]}:{edge[1]}")))


def remote_host(call: PhoneCall) -> str:
    """Return the host that the call's requests go to, from the last Contact."""
    return destination_of(call.session.live.next_hop).host


@dataclass(frozen=True)
class Findings:
    """The losses, gaps and moves of the calls since `Callers.mark`."""

    calls: int
    lost: int
    gaps_ms: list[float]  # the worst of each call that is not lost
    standstill_ms: float  # the longest in which no call heard anything
    moved: list[int]  # re-INVITEs with another description that each call got
    why_lost: list[str]

    @property
    def worst_gap_ms(self) -> float:
        return max(self.gaps_ms, default=0.0)

    @property
    def usual_gap_ms(self) -> float:
        """The median gap of the calls that moved, when none is lost.

        A machine that starts many processes holds single calls up for a second and more. What a move costs is
        seen at most calls.
        """
        moved = [gap for gap, moves in zip(self.gaps_ms, self.moved, strict=True) if moves]
        return median(moved) if moved else 0.0

    @property
    def gaps(self) -> str:
        """Format the gaps for the report."""
        if not self.gaps_ms:
            return "no gaps"
        least, most = min(self.gaps_ms), max(self.gaps_ms)
        return f"gaps {least:.0f} to {most:.0f} ms, median {median(self.gaps_ms):.0f}"


class Callers:
    """`with Callers(edges) as callers`: calls that are still up at the end are hung up."""

    def __init__(self, edges: Sequence[Address], user: str = "test", *, pauses: bool = True) -> None:
        self.edges = list(edges)
        self.user = user
        self.pauses = pauses
        self.calls: list[PhoneCall] = []
        self.refused = 0
        self._marked_s = 0.0
        self._moves: dict[int, int] = {}
        self._words: dict[int, bytes] = {}
        self._phone: SipPhone
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="callers", daemon=True)

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
        """Place `count` more calls, spread over the edges. Raises the error of the first that was refused.

        With `tries` a call that gets 503 is placed again, at the next edge, as carriers do; `refused` counts.
        """
        return self._run(self._dial(count, per_second, seconds, user or self.user, tries))

    def each(self, act: Callable[[PhoneCall], Coroutine[Any, Any, None]]) -> None:
        """Run `act` on every call that is up, all at once. Raises the first error."""
        self._run(_gather([act(call) for call in self.calls if not call.has_ended]))

    def mark(self) -> None:
        """Count gaps and moves from now on."""
        self._marked_s = time.monotonic()
        self._moves = {id(call): _moves(call) for call in self.calls}

    def rest(self, seconds: float) -> None:
        """Let them talk."""
        time.sleep(seconds)

    def findings(self, *, apart_from_standstills: bool = False) -> Findings:
        """Return the findings; with `apart_from_standstills`, gaps without times when no call heard anything.

        Use it for calls on many relays that never move all at once, where few cores start all pods anew.
        """
        calls = list(self.calls)
        reasons = [_why_lost(call) for call in calls]
        times = [self._times(call) for call, why in zip(calls, reasons, strict=True) if not why]
        still = [gap for gap in pairwise(sorted({at_s for each in times for at_s in each})) if _is_long(gap)]
        but = still if apart_from_standstills else []
        gaps = [max(_length_ms(gap) - _shared_ms(gap, but) for gap in pairwise(each)) for each in times]
        moved = [_moves(call) - self._moves.get(id(call), 0) for call in calls]
        lost = list(filter(None, reasons))
        return Findings(len(calls), len(lost), gaps, max(map(_length_ms, still), default=0.0), moved, lost)

    def hang_up(self, calls: Sequence[PhoneCall] | None = None) -> None:
        """Hang up all calls by a BYE, through any edge that responds."""
        chosen = list(self.calls if calls is None else calls)
        self._run(self._hang_up_all(chosen))
        self.calls = [call for call in self.calls if call not in chosen]

    def _serve(self) -> None:
        """Run the phones; as root with priority, since late phones would measure themselves."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        self._loop.run_forever()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _dial(
        self, count: int, per_second: float, seconds: int, user: str, tries: int
    ) -> list[PhoneCall]:
        begun: list[asyncio.Task[PhoneCall]] = []
        for index in range(count):
            begun.append(asyncio.create_task(self._place(index, user, seconds, tries)))
            await asyncio.sleep(1 / per_second)
        return list(await asyncio.gather(*begun))

    async def _place(self, index: int, user: str, seconds: int, tries: int) -> PhoneCall:
        said = noise()
        audio = (said + (_SILENCE * _SECOND if self.pauses else said)) * (seconds // 2)
        shift = random.randrange(_SECOND)
        for attempt in range(tries):
            host, port = self.edges[(index + attempt) % len(self.edges)]
            call = self._phone.invite(f"sip:{user}@{host}:{port}", audio=audio[shift:], codecs=("PCMU",))
            try:
                await call.answered(20)
            except CallRefused as refusal:
                self.refused += 1
                if refusal.status != 503 or attempt == tries - 1:
                    raise
                await asyncio.sleep(1)
            else:
                self._words[id(call)] = 2 * said
                self.calls.append(call)
                return call
        raise AssertionError("no try")

    async def _hang_up_all(self, calls: Sequence[PhoneCall]) -> None:
        await asyncio.gather(*(self._hang_up(call) for call in calls if not call.has_ended))

    def _times(self, call: PhoneCall) -> list[float]:
        """Return when a call was first looked at, when it heard something, and when it was last looked at."""
        arrivals = [at_s for at_s in self._heard_at(call) if at_s > self._marked_s]
        return [max(self._marked_s, call.times.answered_s or 0.0), *arrivals, time.monotonic()]

    def _heard_at(self, call: PhoneCall) -> list[float]:
        if self.pauses:
            return [packet.arrived_s for packet in list(call.received.packets)]
        words = self._words[id(call)]
        return [p.arrived_s for p in list(call.received.audio_packets) if p.payload[:_OWN] in words]

    async def _hang_up(self, call: PhoneCall) -> None:
        for edge in [call.destination, *self.edges]:
            call.destination = edge
            with contextlib.suppress(SipTestError):
                await call.hangup(3)
                return
            call.phase = CallPhase.ANSWERED  # not ended: no edge responded to the BYE


async def _gather(acts: Sequence[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*acts)


def _is_long(gap: tuple[float, float]) -> bool:
    return _length_ms(gap) > _STANDSTILL_MS


def _length_ms(gap: tuple[float, float]) -> float:
    return (gap[1] - gap[0]) * 1000


def _shared_ms(gap: tuple[float, float], others: Sequence[tuple[float, float]]) -> float:
    return sum(max(0.0, min(gap[1], end) - max(gap[0], begin)) * 1000 for begin, end in others)


def _why_lost(call: PhoneCall) -> str:
    if call.has_ended:
        assert call.end is not None
        return f"ended by {call.end.by.value} {call.end.cause}".strip()
    packets = call.received.packets
    heard_s = packets[-1].arrived_s if packets else call.times.answered_s
    if heard_s is None or time.monotonic() - heard_s > _ALIVE_S:
        return "silent"
    return ""


def _moves(call: PhoneCall) -> int:
    """Count the moves: descriptions after the first. A re-INVITE with a known one only names another edge."""
    offers = {request.body for request in call.requests if request.method == "INVITE"}
    first = call.final_response
    return len(offers - {first.body if first is not None else b""})
