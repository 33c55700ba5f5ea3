"""End calls that stay in one state for too long.

The record keeps the deadline in Redis time; the owner keeps the timer. So a call keeps its deadline when
another edge takes it over. A table gives the cause of the end for each state.
"""

import asyncio
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip_edge.call.ending import CallEnding, End
from sipgw.sip_edge.call.live_calls import LiveCalls
from sipgw.sip_edge.call.routing import no_bot_status
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record.records import CallRecords
from sipgw.store import StoreUnavailable

WHEN_DUE: Final = {
    calls.CALL_STATE_INVITED: (calls.END_CAUSE_REJECTED, "no relay in time"),
    calls.CALL_STATE_PLACED: (calls.END_CAUSE_REJECTED, "no relay in time"),
    calls.CALL_STATE_RINGING: (calls.END_CAUSE_BOT_LOST, "no bot in time"),
    calls.CALL_STATE_ANSWERED: (calls.END_CAUSE_NO_ACK, "no ACK"),
    calls.CALL_STATE_ESTABLISHED: (calls.END_CAUSE_MAX_DURATION, "longest call duration reached"),
}
_OBEYED_WITHIN_MS: Final = 2000
_log = get_logger("sipgw.sip_edge.app")


class Deadlines:
    """Timers of the calls served here; `arm` sets the timer at each new state of a call."""

    def __init__(self, process: Process, records: CallRecords, live: LiveCalls, ending: CallEnding) -> None:
        self._tasks = process.tasks
        self._now_ms = process.now_ms
        self._gateway = process.gateway
        self._records = records
        self._live = live
        self._ending = ending

    def arm(self, record: calls.CallSession) -> None:
        """Replace the call's timer by that of its present state; none if the record has no deadline."""
        live = self._live.get(record.call_id)
        if live is None:
            return
        timer = None
        if record.deadline_ms and record.state in WHEN_DUE:
            delay_s = max(0, record.deadline_ms - self._now_ms()) / 1000
            timer = asyncio.get_running_loop().call_later(delay_s, self._fire, record)
        live.set_timer(timer)

    def is_overdue(self, record: calls.CallSession) -> bool:
        """Tell whether a call goes on although its deadline passed a while ago."""
        return bool(
            record.deadline_ms
            and record.state in WHEN_DUE
            and self._now_ms() > record.deadline_ms + _OBEYED_WITHIN_MS
        )

    async def obey(self, record: calls.CallSession) -> None:
        """End a call whose state has lasted too long.

        `record` is the record as it was when the timer was set.
        """
        cause, reason = WHEN_DUE[record.state]
        current = self._records.copy_of(record.call_id)
        if current is None or current.state != record.state:
            return
        is_ringing = record.state == calls.CALL_STATE_RINGING
        status = no_bot_status(self._gateway.route(record.route)) if is_ringing else 0
        await self._end(record.call_id, End(cause, reason, status), as_owner=True)

    async def no_ack(self, call_id: str) -> None:
        """End a call whose 2xx was repeated for 64*T1 and never acknowledged."""
        await self._end(call_id, End(calls.END_CAUSE_NO_ACK, "no ACK for our 200"))

    def _fire(self, record: calls.CallSession) -> None:
        self._tasks.spawn(self.obey(record), "deadline", call_id=record.call_id)

    async def _end(self, call_id: str, end: End, *, as_owner: bool = False) -> None:
        try:
            await self._ending.end(call_id, end, as_owner=as_owner)
        except StoreUnavailable as error:
            _log.warning("end_not_saved", call_id=call_id, error=str(error))
