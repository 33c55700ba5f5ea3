"""Planned calls, one or many at a rate: each talks, presses keys, listens and hangs up."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sipgw.siptest.call import EndedBy, PhoneCall
from sipgw.siptest.errors import CallRefused, CallTimedOut, SipTestError
from sipgw.siptest.login import Login
from sipgw.siptest.media import Audio
from sipgw.siptest.phone import SipPhone
from sipgw.siptest.probe import LatencySummary
from sipgw.siptest.statistics import CallStatistics, echo_latency

_TAIL_S = 0.5  # time for the echo of the last word
_BEFORE_DIGITS_S = 0.5
_ONCE_MORE_AFTER_S = 1.0
_NORMAL_CLEARING = "cause=16"  # Q.850: the other side, perhaps a bot, ended the call normally

Tell = Callable[[str], None]


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class CallPlan:
    """The plan of every call. It lasts `duration_s` from the answer, or as long as its audio and digits.

    For `patience_s` it is placed again while the response is 503 or none comes: the gateway is starting.
    """

    uri: str
    audio: Audio
    digits: str = ""
    duration_s: float | None = None
    answer_timeout_s: float = 15.0
    patience_s: float = 0.0
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The result of a call; `failure` is None if it was answered, brought audio and was ended by us."""

    failure: str | None
    statistics: CallStatistics
    latency: LatencySummary | None


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """Percentiles over calls of the answer time and of each call's echo latency."""

    calls: int
    failures: Counter[str] = field(default_factory=Counter[str])
    answer_p50_ms: float | None = None
    answer_p99_ms: float | None = None
    packets_sent: int = 0
    packets_received: int = 0
    packets_lost: int = 0
    echo_p50_ms: float | None = None
    echo_p99_ms: float | None = None


async def place_call(
    phone: SipPhone, plan: CallPlan, tell: Tell = _silent, *, stop: asyncio.Event | None = None
) -> CallOutcome:
    """Place one call from INVITE to end; hang up once `stop` is set.

    Raises NoRoute; failures of the call are in the outcome.
    """
    loop = asyncio.get_running_loop()
    patient_until_s = loop.time() + plan.patience_s
    stop = stop or asyncio.Event()
    while True:
        call = phone.invite(plan.uri, audio=plan.audio, login=plan.login)
        try:
            failure = await _talk_until(stop, call, plan, tell)
        except SipTestError as error:
            failure = str(error)
            if not call.has_ended:
                call.drop()
            if _may_pass(call, error) and loop.time() < patient_until_s and not stop.is_set():
                tell(f"{failure}; once more")
                if not await _is_set_within(_ONCE_MORE_AFTER_S, stop):
                    continue
        break
    latency = await asyncio.to_thread(echo_latency, call.media)
    statistics = call.statistics()
    if failure is None and statistics.packets_received == 0:
        failure = "answered, but no audio came back"
    return CallOutcome(failure, statistics, latency)


def _may_pass(call: PhoneCall, error: SipTestError) -> bool:
    has_no_room = isinstance(error, CallRefused) and error.status == 503
    return has_no_room or (isinstance(error, CallTimedOut) and call.times.answered_s is None)


async def _talk_until(stop: asyncio.Event, call: PhoneCall, plan: CallPlan, tell: Tell) -> str | None:
    """Talk as planned, or hang up once `stop` is set; return why the call failed."""
    talking = asyncio.create_task(_talk(call, plan, tell), name="talk")
    stopping = asyncio.create_task(stop.wait(), name="wait for the stop")
    try:
        await asyncio.wait({talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (talking, stopping):
            task.cancel()
        await asyncio.wait({talking, stopping})
    if not talking.cancelled():
        return talking.result()
    tell("BYE" if call.is_answered else "CANCEL")
    await call.hangup()
    return None if call.times.answered_s is not None else "hung up before the answer"


async def _talk(call: PhoneCall, plan: CallPlan, tell: Tell) -> str | None:
    tell(f"INVITE {plan.uri}")
    await call.answered(plan.answer_timeout_s)
    answer_s = call.times.answer_time_s or 0.0
    media = call.media.current
    assert media is not None
    place = f"{media.remote_address}:{media.remote_rtp_port}"
    tell(f"answered after {answer_s * 1000:.0f} ms; {media.codec}, RTP {place}")
    end_at_s = asyncio.get_running_loop().time() + (plan.duration_s or 0.0)
    if plan.digits:
        await _wait(call, _BEFORE_DIGITS_S)
        tell(f"pressing {plan.digits}")
        await call.send_dtmf(plan.digits)
    if plan.duration_s is None:
        await call.played(3600)
        await _wait(call, _TAIL_S)
    else:
        await _wait(call, end_at_s - asyncio.get_running_loop().time())
    if call.end is not None and call.end.by is not EndedBy.US:
        end = f"ended by the other side {call.end.cause}".rstrip()
        if _NORMAL_CLEARING not in call.end.cause:
            return end
        tell(end)
        return None
    tell("BYE")
    await call.hangup()
    return None


async def _wait(call: PhoneCall, seconds: float) -> None:
    """Wait so long, or until the call ends."""
    if seconds > 0:
        try:
            await call.ended(seconds)
        except SipTestError:
            return


async def _is_set_within(seconds: float, event: asyncio.Event) -> bool:
    """Wait so long, or until the event is set; return whether it is."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


async def place_calls(
    phone: SipPhone,
    plan: CallPlan,
    *,
    calls: int,
    per_second: float,
    tell: Tell = _silent,
    stop: asyncio.Event | None = None,
) -> list[CallOutcome]:
    """Place `calls` calls at an even rate, on one phone; once `stop` is set, hang up and begin no more."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    stop = stop or asyncio.Event()
    running: list[asyncio.Task[CallOutcome]] = []
    for index in range(calls):
        if await _is_set_within(began + index / per_second - loop.time(), stop):
            break
        running.append(asyncio.create_task(place_call(phone, plan, stop=stop), name=f"call {index}"))
        if (index + 1) % max(1, round(per_second)) == 0:
            tell(f"{index + 1} of {calls} begun, {sum(task.done() for task in running)} ended")
    return list(await asyncio.gather(*running))


def summarise_calls(outcomes: Sequence[CallOutcome]) -> LoadSummary:
    """Summarise the outcomes of calls."""
    statistics = [outcome.statistics for outcome in outcomes]
    answers = [s.answer_time_ms for s in statistics if s.answer_time_ms is not None]
    echoes = [outcome.latency for outcome in outcomes if outcome.latency is not None]
    return LoadSummary(
        calls=len(outcomes),
        failures=Counter(outcome.failure for outcome in outcomes if outcome.failure is not None),
        answer_p50_ms=_percentile(answers, 50),
        answer_p99_ms=_percentile(answers, 99),
        packets_sent=sum(s.packets_sent for s in statistics),
        packets_received=sum(s.packets_received for s in statistics),
        packets_lost=sum(s.packets_lost for s in statistics),
        echo_p50_ms=_percentile([echo.p50_ms for echo in echoes], 50),
        echo_p99_ms=_percentile([echo.p99_ms for echo in echoes], 99),
    )


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(np.array(values), percent)) if values else None
