"""Each state of a call lasts so long at most; the record keeps the deadline in Redis time, the owner the
timer.

So a call taken over keeps its clock. What is due is a table: state to cause.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.sip_edge.call.live_calls import LiveCalls

WHEN_DUE: Final = {
    calls.CALL_STATE_INVITED: (calls.END_CAUSE_REJECTED, "no relay in time"),
    calls.CALL_STATE_PLACED: (calls.END_CAUSE_REJECTED, "no relay in time"),
    calls.CALL_STATE_RINGING: (calls.END_CAUSE_BOT_LOST, "no bot in time"),
    calls.CALL_STATE_ANSWERED: (calls.END_CAUSE_NO_ACK, "no ACK"),
    calls.CALL_STATE_ESTABLISHED: (calls.END_CAUSE_MAX_DURATION, "longest call duration reached"),
}
_OBEYED_WITHIN_MS: Final = 2000
Due = Callable[[calls.CallSession, calls.EndCause.ValueType, str], Awaitable[object]]


class Deadlines:
    """`now_ms` is Redis time; `on_due` gets the session as it was armed, the cause and the reason."""

    def __init__(self, live: LiveCalls, tasks: TaskGroupOwner, now_ms: Callable[[], int]) -> None:
        self._live = live
        self._tasks = tasks
        self._now_ms = now_ms
        self.on_due: Due = _nobody

    def arm(self, session: calls.CallSession) -> None:
        """Replace the call's timer by that of its present state; none when it has no deadline."""
        live = self._live.get(session.call_id)
        if live is None:
            return
        if live.timer is not None:
            live.timer.cancel()
            live.timer = None
        if session.deadline_ms and session.state in WHEN_DUE:
            delay_s = max(0, session.deadline_ms - self._now_ms()) / 1000
            live.timer = asyncio.get_running_loop().call_later(delay_s, self._fire, session)

    def is_overdue(self, session: calls.CallSession) -> bool:
        """Whether the call's time was over a while ago, and yet it goes on."""
        return bool(
            session.deadline_ms
            and session.state in WHEN_DUE
            and self._now_ms() > session.deadline_ms + _OBEYED_WITHIN_MS
        )

    async def obey(self, session: calls.CallSession) -> None:
        """Do what the call's deadline asks for."""
        cause, reason = WHEN_DUE[session.state]
        await self.on_due(session, cause, reason)

    def _fire(self, session: calls.CallSession) -> None:
        self._tasks.spawn(self.obey(session), "deadline", call_id=session.call_id)


async def _nobody(_session: calls.CallSession, _cause: calls.EndCause.ValueType, _reason: str) -> None:
    """Until somebody listens."""
