"""Drain: ask the edges to move this relay's calls, each at a pause in speech or else at the deadline.

So many calls a second are asked about. Calls that stay are asked about again. Calls whose bot can't resume,
and those whose bot is ending the call, are left to end by themselves.
"""

from typing import Final

import numpy as np

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.calls.parts import CallParts
from sipgw.media_relay.calls.session import Session
from sipgw.media_relay.pipeline.stage import TICK_MS
from sipgw.media_relay.stages.pauses import PauseStage
from sipgw.runtime.telemetry.logs import get_logger

PERIOD_TICKS: Final = 100 // TICK_MS
MOST_A_PERIOD: Final = 2
"""How many calls are asked about in a period: 20 a second."""
ASK_AGAIN_S: Final = 10.0
_BACKLOG_BYTES: Final = 800
"""Unplayed speech of up to 100 ms still counts as a pause."""
_log = get_logger("sipgw.media_relay.drain")


class Drain:
    """Asks for moves, from `begin` to `stop`, at each `step`, once a period."""

    def __init__(self, parts: CallParts, pauses: PauseStage) -> None:
        self._sessions = parts.sessions
        self._events = parts.events
        self._playout = parts.plane.playout
        self._pauses = pauses
        self._deadline_tick: int | None = None
        self.requested = 0

    @property
    def is_active(self) -> bool:
        """Whether calls are to leave."""
        return self._deadline_tick is not None

    def begin(self, tick_number: int, deadline_s: float) -> None:
        """Have calls leave, after `deadline_s` also in mid-word.

        When begun again, the sooner deadline holds.
        """
        deadline = tick_number + int(deadline_s * 1000) // TICK_MS
        if self._deadline_tick is None:
            self._pauses.begin(tick_number)
            _log.info("drain_begun", calls=len(self._sessions), deadline_s=deadline_s)
        self._deadline_tick = min(deadline, self._deadline_tick or deadline)

    def stop(self) -> None:
        """Let calls stay."""
        if self._deadline_tick is not None:
            _log.info("drain_stopped", calls=len(self._sessions))
        self._deadline_tick = None
        self._pauses.stop()
        for session in self._sessions:
            session.stay()

    def step(self, tick_number: int, now_s: float) -> None:
        """Ask for the next few calls that are at a pause or past the deadline."""
        if self._deadline_tick is None:
            return
        is_late = tick_number >= self._deadline_tick
        left = MOST_A_PERIOD
        for session in self._sessions:
            if not left:
                return
            if not self._may_ask(session, now_s):
                continue
            if is_late or self._is_pause(session, tick_number):
                left -= 1
                self.requested += 1
                session.ask_to_move(now_s)
                self._events.tell(session, move_requested=pb.MoveRequested(at_deadline=is_late))

    def _may_ask(self, session: Session, now_s: float) -> bool:
        if not session.is_started or session.is_ending or not session.can_resume:
            return False
        return not session.asked_to_move_s or now_s - session.asked_to_move_s >= ASK_AGAIN_S

    def _is_pause(self, session: Session, tick_number: int) -> bool:
        if not self._pauses.is_pause(session.row, tick_number):
            return False
        return int(self._playout.depth(np.array([session.row]))[0]) <= _BACKLOG_BYTES
