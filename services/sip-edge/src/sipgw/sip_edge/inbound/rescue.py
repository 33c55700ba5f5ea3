"""Resume calls whose task has crashed: something is to be done, as the record says, and no task does it.

The calls of this edge are checked each second, and at once when a task crashes. This reads nothing from
Redis, as the edge has a copy of each of its records. A duty that fails again is tried again at growing
intervals.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import log_of
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.dialog.offers import Offers
from sipgw.sip_edge.move.moves import Moves
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import offering
from sipgw.sip_edge.record.states import UNANSWERED

_LOOK_S: Final = 1.0
_SHORTEST_LOOK_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 30.0
_TASK: Final = "rescue"


class Duty(StrEnum):
    """The next work that a call needs."""

    SAVE_END = "save end"
    END = "end"
    SET_UP = "set up"
    MOVE = "move"
    OFFER = "offer"
    DEADLINE = "deadline"


_PATIENCE_S: Final = {
    Duty.SAVE_END: 0.2,
    Duty.END: 0.2,
    Duty.SET_UP: 2.0,
    Duty.MOVE: 2.0,
    Duty.OFFER: 3.0,
    Duty.DEADLINE: 0.2,
}
"""How long a duty may be neglected.

A call that was just claimed is adopted first, which takes a second. An offer may be served by another edge.
"""


@dataclass(slots=True)
class _Neglected:
    """A duty that no task does, and when to take it up."""

    duty: Duty
    due_s: float
    tries: int = 0


class Rescue:
    """Checks calls as long as the edge runs; `note_crash` makes it check soon."""

    def __init__(self, process: Process, served: ServedCalls, moves: Moves, offers: Offers) -> None:
        self._records = served.records
        self._live = served.live
        self._ending = served.ending
        self._deadlines = served.deadlines
        self._moves = moves
        self._offers = offers
        self._tasks = process.tasks
        self._wake = asyncio.Event()
        self._neglected: dict[str, _Neglected] = {}
        self._busy: set[str] = set()

    def note_crash(self, task: str) -> None:
        """Count a crashed task and check soon, as the task may have been a call's."""
        metrics.TASKS_CRASHED.labels(task).inc()
        if task != _TASK:
            self._wake.set()

    async def run(self) -> None:
        """Check for ever."""
        while True:
            try:
                async with asyncio.timeout(_LOOK_S if not self._neglected else 2 * _SHORTEST_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(_SHORTEST_LOOK_S)  # tasks that crash together cause one check
            self._wake.clear()
            self._look(asyncio.get_running_loop().time())

    def _look(self, now_s: float) -> None:
        owned = {record.call_id: record for record in self._records.owned}
        self._ending.unfinished.keep_only(owned.keys())
        before, self._neglected = self._neglected, {}
        for call_id, record in owned.items():
            duty = self._duty_of(record) if call_id not in self._busy else None
            if duty is None:
                if call_id in self._busy and call_id in before:
                    self._neglected[call_id] = before[call_id]
                continue
            one = before.get(call_id)
            if one is None or one.duty is not duty:
                one = _Neglected(duty, now_s + _PATIENCE_S[duty])
            self._neglected[call_id] = one
            if now_s >= one.due_s:
                self._take_up(record, one, now_s)

    def _duty_of(self, record: calls.CallSession) -> Duty | None:
        """Return the duty that the record asks for and no task does, or None."""
        call_id, unfinished = record.call_id, self._ending.unfinished
        if record.state == calls.CALL_STATE_ENDING:
            return Duty.END if unfinished.is_left(call_id) else None
        if unfinished.wanted(call_id) is not None:
            return Duty.SAVE_END
        live = self._live.get(call_id)
        if live is not None and record.state in UNANSWERED and not live.is_setting_up:
            return Duty.SET_UP
        if live is not None and record.HasField("move") and not live.is_moving:
            return Duty.MOVE
        if offering.is_begun(record):
            return Duty.OFFER
        return Duty.DEADLINE if self._deadlines.is_overdue(record) else None

    def _take_up(self, record: calls.CallSession, one: _Neglected, now_s: float) -> None:
        if not one.tries:
            metrics.CALLS_RESCUED.labels(one.duty).inc()
            log_of(record).warning("call_rescued", duty=str(one.duty))
        one.tries += 1
        one.due_s = now_s + min(2.0**one.tries, _LONGEST_PAUSE_S)
        self._busy.add(record.call_id)
        self._tasks.spawn(self._do(record, one.duty), _TASK, call_id=record.call_id)

    async def _do(self, record: calls.CallSession, duty: Duty) -> None:
        try:
            await self._act_of(record, duty)
        finally:
            self._busy.discard(record.call_id)

    def _act_of(self, record: calls.CallSession, duty: Duty) -> Coroutine[None, None, object]:
        match duty:
            case Duty.SAVE_END:
                again = self._ending.unfinished.wanted(record.call_id)
                return again() if again is not None else _done()
            case Duty.END:
                return self._ending.carry_out(record)
            case Duty.SET_UP:
                end = End(calls.END_CAUSE_REJECTED, "the task that set up the call crashed", 500)
                return self._ending.end(record.call_id, end, as_owner=True)
            case Duty.MOVE:
                return self._go_on_moving(record)
            case Duty.OFFER:
                return self._offers.go_on(record)
            case Duty.DEADLINE:
                return self._deadlines.obey(record)
            case _:
                assert_never(duty)

    async def _go_on_moving(self, record: calls.CallSession) -> None:
        live = self._live.get(record.call_id)
        if live is not None:
            self._moves.go_on(live, record)


async def _done() -> None:
    """Do nothing, because the duty has been done meanwhile."""
