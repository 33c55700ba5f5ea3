import asyncio
from collections.abc import AsyncIterator

import pytest

from sipgw.siptest import EndedBy, SipPhone, speech_like
from sipgw.siptest.load import CallPlan, place_call, place_calls, summarise_calls


@pytest.fixture
async def bob() -> AsyncIterator[SipPhone]:
    async with await SipPhone.open(user="bob") as phone:
        yield phone


async def answer_all(bob: SipPhone, *, hangs_up: bool = False) -> None:
    while True:
        call = (await bob.incoming(60)).answer()
        if hangs_up:
            await call.hangup()


async def test_a_planned_call_is_told_step_by_step(bob: SipPhone) -> None:
    answering = asyncio.create_task(answer_all(bob))
    told: list[str] = []
    async with await SipPhone.open() as phone:
        outcome = await place_call(phone, CallPlan(bob.uri, speech_like(0.3), "5", 0.8), told.append)
    answering.cancel()
    assert outcome.failure is None
    assert outcome.statistics.digits_sent == "5"
    assert [line.split()[0] for line in told] == ["INVITE", "answered", "pressing", "BYE"]
    assert bob.calls[0].received_digits == "5"


async def test_a_refusal_and_an_end_by_the_other_side_are_failures(bob: SipPhone) -> None:
    async with await SipPhone.open() as phone:
        refused = asyncio.create_task(place_call(phone, CallPlan(bob.uri, speech_like(0.2))))
        (await bob.incoming()).reject(503)
        assert (await refused).failure == "503 Service Unavailable"
        answering = asyncio.create_task(answer_all(bob, hangs_up=True))
        outcome = await place_call(phone, CallPlan(bob.uri, speech_like(0.2), duration_s=5.0))
        assert outcome.failure == "ended by the other side"
        answering.cancel()


async def test_a_patient_caller_tries_again_while_there_is_no_room_and_nothing_else(bob: SipPhone) -> None:
    async with await SipPhone.open() as phone:
        plan = CallPlan(bob.uri, speech_like(0.2), duration_s=0.2, patience_s=10.0)
        told: list[str] = []
        calling = asyncio.create_task(place_call(phone, plan, told.append))
        (await bob.incoming()).reject(503)
        (await bob.incoming()).answer()
        assert (await calling).failure is None
        assert "503 Service Unavailable; once more" in told
        calling = asyncio.create_task(place_call(phone, plan))
        (await bob.incoming()).reject(403)
        assert (await calling).failure == "403 Forbidden"


async def test_normal_clearing_by_the_other_side_is_no_failure(bob: SipPhone) -> None:
    async def say_and_hang_up() -> None:
        call = (await bob.incoming(60)).answer(speech_like(0.2))
        await call.played()
        await call.hangup(reason='Q.850;cause=16;text="bot hung up"')

    saying = asyncio.create_task(say_and_hang_up())
    told: list[str] = []
    async with await SipPhone.open() as phone:
        outcome = await place_call(phone, CallPlan(bob.uri, speech_like(0.2), duration_s=5.0), told.append)
    await saying
    assert outcome.failure is None
    assert told[-1].startswith("ended by the other side")


async def test_many_calls_are_summed_up(bob: SipPhone) -> None:
    answering = asyncio.create_task(answer_all(bob))
    async with await SipPhone.open() as phone:
        plan = CallPlan(bob.uri, speech_like(0.2), duration_s=0.2)
        outcomes = await place_calls(phone, plan, calls=6, per_second=50)
    answering.cancel()
    summary = summarise_calls(outcomes)
    assert summary.calls == 6
    assert summary.failures == {}
    assert summary.answer_p99_ms is not None
    assert summary.packets_received > 0


async def test_a_call_that_is_stopped_is_hung_up_and_measured(bob: SipPhone) -> None:
    stop = asyncio.Event()
    told: list[str] = []
    plan = CallPlan(bob.uri, speech_like(0.2), "123456789", duration_s=60.0)
    async with await SipPhone.open() as phone:
        calling = asyncio.create_task(place_call(phone, plan, told.append, stop=stop))
        answered = (await bob.incoming()).answer()
        await answered.heard("1")
        stop.set()
        assert (await answered.ended()).by is EndedBy.PEER
        outcome = await calling
    assert outcome.failure is None
    assert outcome.statistics.packets_received > 0
    assert told[-1] == "BYE"


async def test_a_call_that_is_stopped_before_the_answer_is_cancelled(bob: SipPhone) -> None:
    stop = asyncio.Event()
    told: list[str] = []
    async with await SipPhone.open() as phone:
        plan = CallPlan(bob.uri, speech_like(0.2), patience_s=60.0)
        calling = asyncio.create_task(place_call(phone, plan, told.append, stop=stop))
        ringing = await bob.incoming()
        ringing.ring()
        stop.set()
        outcome = await calling
    assert outcome.failure == "hung up before the answer"
    assert told[-1] == "CANCEL"
    assert ringing.is_cancelled


async def test_after_the_stop_no_call_is_begun_and_each_that_was_is_hung_up(bob: SipPhone) -> None:
    answering = asyncio.create_task(answer_all(bob))
    stop = asyncio.Event()
    plan = CallPlan(bob.uri, speech_like(0.2), duration_s=60.0)
    async with await SipPhone.open() as phone:
        outcomes = await place_calls(
            phone, plan, calls=1000, per_second=4, tell=lambda _: stop.set(), stop=stop
        )
    answering.cancel()
    assert len(outcomes) == len(bob.calls) == 4
    assert all(call.has_ended for call in bob.calls)
