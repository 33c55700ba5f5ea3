"""Whichever step of a call fails, and whichever of its tasks crashes: the call ends or goes on within
seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import FAST, TestEdge
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from edge_kit.standing_calls import established
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.sip import make_cancel
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.sip.responses import InviteResponseTemplate
from sipgw.store import StoreProtocolError

WITHIN_S = 5.0
Patch = pytest.MonkeyPatch
Inject = Callable[[TestEdge, Patch], None]


class UnexpectedError(Exception):
    """An error that no handler names."""


def always(*_: Any, **__: Any) -> Any:
    raise UnexpectedError("injected")


def once(real: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that raises at its first call and then does what `real` does."""
    failed: list[None] = []

    async def call(*args: Any, **kwargs: Any) -> Any:
        if not failed:
            failed.append(None)
            raise StoreProtocolError("EVALSHA: OOM command not allowed")
        return await real(*args, **kwargs)

    return call


def relay_release(edge: TestEdge, patch: Patch) -> None:
    patch.setattr(edge.app.ending._media, "release", always)


def registry_release(edge: TestEdge, patch: Patch) -> None:
    patch.setattr(edge.app.registry, "release_placement", always)


def bye_or_answer(edge: TestEdge, patch: Patch) -> None:
    patch.setattr(edge.app.ending._requests, "send", always)
    patch.setattr(edge.app.responses, "send", always)


def building_the_answer(edge: TestEdge, patch: Patch) -> None:
    patch.setattr(InviteResponseTemplate, "build", always)


def reading_the_answer(edge: TestEdge, patch: Patch) -> None:
    patch.setattr(InviteResponseTemplate, "from_record", always)


def saving_the_end(edge: TestEdge, patch: Patch) -> None:
    patch.setattr(edge.app.records._store, "save", once(edge.app.records._store.save))


def burying(edge: TestEdge, patch: Patch) -> None:
    patch.setattr(edge.app.records._store, "end", once(edge.app.records._store.end))


async def by_the_caller(edge: TestEdge, caller: Caller, relay: FakeRelay, call_id: str) -> None:
    record = edge.app.records.copy_of(call_id)
    assert record is not None
    invite = next(one for one in caller.invites if (one.call_id == record.legs[0].dialog.sip_call_id))
    method = "BYE" if record.answered_ms else "CANCEL"
    if method == "CANCEL":
        caller.send(make_cancel(invite), edge.sip)
        return
    bye = caller.request(
        "BYE",
        to=f"<sip:bot@127.0.0.1>;tag={record.legs[0].dialog.local_tag}",
        from_=str(invite.from_),
        call_id=invite.call_id,
        cseq=2,
    )
    caller.send(bye, edge.sip)
    await caller.response(bye)


async def by_the_gateway(edge: TestEdge, caller: Caller, relay: FakeRelay, call_id: str) -> None:
    end = End(calls.END_CAUSE_OPERATOR, "hung up by the operator")
    edge.app.tasks.spawn(edge.app.ending.end(call_id, end), "end")


ENDS = [by_the_caller, by_the_gateway]
FAILURES = [
    relay_release,
    registry_release,
    bye_or_answer,
    building_the_answer,
    reading_the_answer,
    saving_the_end,
    burying,
]


async def call_on(edge: TestEdge, caller: Caller, relay: FakeRelay, *, is_answered: bool) -> str:
    if is_answered:
        return (await established(edge, caller)).call_id
    relay.bot_ready = False
    invite = caller.invite()
    caller.send(invite, edge.sip)
    return ((await caller.response(invite, 180)).to.tag or "")[:32]


@pytest.mark.parametrize("is_answered", [True, False], ids=["answered", "ringing"])
@pytest.mark.parametrize("fail", FAILURES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("end", ENDS, ids=lambda one: one.__name__)
async def test_a_call_ends_once_whichever_step_of_its_end_fails(
    edge: TestEdge,
    caller: Caller,
    relay: FakeRelay,
    registry: FakeRegistry,
    monkeypatch: Patch,
    end: Callable[[TestEdge, Caller, FakeRelay, str], Awaitable[None]],
    fail: Inject,
    is_answered: bool,
) -> None:
    call_id = await call_on(edge, caller, relay, is_answered=is_answered)
    fail(edge, monkeypatch)
    with capture_logs() as lines:
        await end(edge, caller, relay, call_id)
        await edge.until(lambda: not edge.app.records.owned and not len(edge.app.live), WITHIN_S)
    assert [line["event"] for line in lines].count("call_ended") == 1
    assert [line["event"] for line in lines].count("call_rescued") <= 1
    monkeypatch.undo()
    held = await edge.app.records.load(call_id)
    assert held is not None
    assert held.state == calls.CALL_STATE_ENDED
    if fail is not relay_release:
        assert not relay.sessions
    assert edge.app.sip.pending_requests == 0


async def test_an_end_whose_task_died_is_carried_out_and_counted_and_told_once(
    edge: TestEdge, caller: Caller, relay: FakeRelay
) -> None:
    """Here the task crashed before it began."""
    call = await established(edge, caller)
    rescued = metrics.CALLS_RESCUED.labels("end")
    before = rescued._value.get()
    with capture_logs() as lines:
        await edge.app.ending.decide(call.call_id, End(calls.END_CAUSE_OPERATOR))
        await caller.peer_request("BYE")
        await edge.until(lambda: not edge.app.records.owned)
    assert rescued._value.get() == before + 1
    assert [line["event"] for line in lines].count("call_rescued") == 1
    assert not relay.sessions


async def test_an_end_of_the_bots_is_saved_at_another_try(
    edge: TestEdge, caller: Caller, relay: FakeRelay, monkeypatch: Patch
) -> None:
    call = await established(edge, caller)
    saving_the_end(edge, monkeypatch)
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup())
    await caller.peer_request("BYE")
    await edge.until(lambda: not edge.app.records.owned, WITHIN_S)


@pytest.mark.parametrize("step", ["_place", "_allocate", "_answer_when_ready"])
async def test_a_set_up_whose_task_died_ends_in_an_answer(
    edge: TestEdge, caller: Caller, relay: FakeRelay, monkeypatch: Patch, step: str
) -> None:
    steps = edge.app.intake._flow._steps
    states = {
        "_place": calls.CALL_STATE_INVITED,
        "_allocate": calls.CALL_STATE_PLACED,
        "_answer_when_ready": calls.CALL_STATE_RINGING,
    }
    monkeypatch.setitem(steps, states[step], always)
    invite = caller.invite()
    caller.send(invite, edge.sip)
    assert (await caller.response(invite)).status == 500
    await edge.until(lambda: not edge.app.records.owned and not len(edge.app.live), WITHIN_S)
    assert not relay.sessions


async def test_a_move_whose_task_died_goes_on(
    edge: TestEdge,
    caller: Caller,
    relay: FakeRelay,
    other_relay: FakeRelay,
    call: CallerDialog,
    monkeypatch: Patch,
) -> None:
    steps, phase = edge.app.moves._steps, calls.MOVE_PHASE_ALLOCATING
    real, failed = steps[phase], asyncio.Event()

    async def fail_once(*args: Any) -> None:
        if not failed.is_set():
            failed.set()
            raise UnexpectedError("injected")
        await real(*args)

    monkeypatch.setitem(steps, phase, fail_once)
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
    await edge.until(lambda: call.call_id in other_relay.sessions and not relay.sessions, 10)
    assert failed.is_set()


async def test_a_deadline_whose_task_died_is_obeyed(
    edge: TestEdge, caller: Caller, monkeypatch: Patch
) -> None:
    call = await established(edge, caller)
    await edge.app.records.update(call.call_id, lambda draft: _is_due(draft, edge.app.store.now_ms()))
    await caller.peer_request("BYE", within_s=8)


def _is_due(draft: calls.CallSession, now_ms: int) -> bool:
    draft.deadline_ms = now_ms - 1000
    return True


async def test_shutdown_waits_for_no_call_whose_end_fails(
    start_edge, caller: Caller, monkeypatch: Patch
) -> None:
    edge = await start_edge(times=replace(FAST, shutdown_s=20.0))
    for _ in range(2):
        await established(edge, caller)
    bye_or_answer(edge, monkeypatch)
    burying(edge, monkeypatch)
    with capture_logs() as lines:
        await edge.stop()
    assert "calls_left_behind" not in [line["event"] for line in lines]


async def test_a_watch_that_crashed_runs_again() -> None:
    runs: list[None] = []
    crashed: list[str] = []
    again = asyncio.Event()

    async def watch() -> None:
        runs.append(None)
        if len(runs) == 1:
            raise UnexpectedError("injected")
        again.set()

    owner = TaskGroupOwner("edge", on_crash=crashed.append)
    owner.keep(watch, "sweep")
    await again.wait()
    assert crashed == ["sweep"]
    await owner.aclose()
