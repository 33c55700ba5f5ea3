"""BotActions: carries out on calls what their bots do: the `BotListener` of the bot streams."""

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np

from sipgw.api import voicebot_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.calls.ending import Ending
from sipgw.media_relay.calls.parts import CallParts
from sipgw.media_relay.calls.session import COST_STREAM_CALL, COST_TRUNK, Session
from sipgw.media_relay.rtp.playout import OnMark
from sipgw.runtime.telemetry.logs import get_logger

DRAIN_S: Final = 60.0
_DIGITS_POLL_S: Final = 0.1
_log = get_logger("sipgw.media_relay.bots")


class BotActions:
    """Single-threaded, on the loop."""

    def __init__(self, parts: CallParts, ending: Ending, loop: asyncio.AbstractEventLoop) -> None:
        self._sessions = parts.sessions
        self._events = parts.events
        self._bots = parts.bots
        self._plane = parts.plane
        self._ending = ending
        self._loop = loop

    def bot_ready(
        self, handle: int, *, confirmed: bool, address: str, protocol: str, can_resume: bool
    ) -> None:
        """Tell the edge that the bot is ready; see BotListener."""
        if (session := self._sessions.session_of(handle)) is not None:
            cost = COST_STREAM_CALL if protocol == "stream_call" else COST_TRUNK
            session.note_ready(cost=cost, can_resume=can_resume)
            ready = pb.BotReady(
                confirmed=confirmed, address=address, protocol=protocol, can_resume=can_resume
            )
            self._events.tell(session, bot_ready=ready)
            if session.is_started:
                self._bots.tell(session, voicebot_pb2.CallEvent(answered=voicebot_pb2.Answered()))

    def bot_mark(self, handle: int, name: str) -> None:
        """Tell the bot when its speech so far was played; see BotListener."""
        session = self._sessions.session_of(handle)
        if session is None:
            return

        def tell(*, was_cleared: bool) -> None:
            self._tell_played(session, name, cleared=was_cleared, dropped_bytes=0)

        self._when_played(session, tell)

    def bot_clear(self, handle: int, name: str) -> None:
        """Drop the bot's unplayed speech; see BotListener."""
        if (session := self._sessions.session_of(handle)) is not None:
            dropped = self._plane.playout.clear(session.row)
            row = np.array([session.row])
            consumed = self._plane.playout.consumed(row)
            self._bots.tell_consumed(self._sessions.handles.of_rows(row), consumed)
            self._tell_played(session, name, cleared=True, dropped_bytes=dropped)

    def bot_send_dtmf(self, handle: int, digits: str, duration_ms: int) -> None:
        """Send keys to the caller; see BotListener."""
        session = self._sessions.session_of(handle)
        if session is None:
            return
        session.digits_to_send.append((digits, duration_ms))
        if len(session.digits_to_send) == 1:
            self._send_next_digits(session)

    def bot_hangup(self, handle: int, reason: str, *, at_once: bool) -> None:
        """Have the edge hang up; see BotListener."""

        def hang_up(session: Session) -> None:
            self._events.tell(session, bot_hangup=pb.BotHangup(reason=reason))

        self._after_speech(handle, hang_up, at_once=at_once)

    def bot_transfer(self, handle: int, target: str, *, at_once: bool) -> None:
        """Have the edge transfer the call; see BotListener."""

        def transfer(session: Session) -> None:
            self._events.tell(session, transfer_requested=pb.TransferRequested(target=target))

        self._after_speech(handle, transfer, at_once=at_once)

    def bot_finished(self, handle: int) -> None:
        """Tell the edge that the bot has finished; see BotListener."""

        def finish(session: Session) -> None:
            self._events.tell(session, bot_finished=pb.BotFinished())

        self._after_speech(handle, finish, at_once=False)

    def bot_lost(self, handle: int, reason: str) -> None:
        """Log the broken stream; see BotListener."""
        if (session := self._sessions.session_of(handle)) is not None:
            _log.warning("bot_lost", **session.log_ids, reason=reason)

    def bot_failed(self, handle: int, reason: str, *, before_ready: bool) -> None:
        """Tell the edge that the bot failed; see BotListener."""
        if (session := self._sessions.session_of(handle)) is not None:
            _log.warning("bot_failed", **session.log_ids, reason=reason, before_ready=before_ready)
            self._events.tell(session, bot_failed=pb.BotFailed(reason=reason, before_ready=before_ready))

    def bot_superseded(self, handle: int) -> None:
        """End the call here: another relay has it; see BotListener."""
        if (session := self._sessions.session_of(handle)) is not None:
            self._ending.end(session, "another relay has the call", moved=True)

    def bot_silent(self, handle: int, after_ms: int) -> None:
        """Tell the edge that the bot is silent; see BotListener."""
        if (session := self._sessions.session_of(handle)) is not None:
            self._events.tell(session, bot_silent=pb.BotSilent(after_ms=after_ms))

    def _tell_played(self, session: Session, name: str, *, cleared: bool, dropped_bytes: int) -> None:
        played = voicebot_pb2.Played(
            mark=name,
            played_ms=int(self._plane.playout.played[session.row]) // 8,
            cleared=cleared,
            dropped_ms=dropped_bytes // 8,
        )
        self._bots.tell(session, voicebot_pb2.CallEvent(played=played))

    def _when_played(self, session: Session, callback: OnMark) -> None:
        """Call back when the queued speech has been consumed; at once when nothing is queued."""
        if not self._plane.playout.depth(np.array([session.row]))[0]:
            callback(was_cleared=False)
        else:
            self._plane.playout.mark(session.row, callback)

    def _after_speech(self, handle: int, act: Callable[[Session], None], *, at_once: bool) -> None:
        """Act when the bot's speech and keys so far are out, at most a minute later; at once if told so."""
        session = self._sessions.session_of(handle)
        if session is None:
            return
        is_done = False
        session.begin_ending()

        def finish() -> None:
            nonlocal is_done
            if not is_done and self._sessions.session_of(handle) is session:
                is_done = True
                act(session)

        def on_played(*, was_cleared: bool = False) -> None:
            del was_cleared
            if session.digits_to_send and self._sessions.session_of(handle) is session and not is_done:
                self._loop.call_later(_DIGITS_POLL_S, on_played)
            else:
                finish()

        if at_once:
            finish()
            return
        self._loop.call_later(DRAIN_S, finish)
        self._when_played(session, on_played)

    def _send_next_digits(self, session: Session) -> None:
        """Send the keys at the head of the queue; the next ones follow when these are out."""
        if self._sessions.session_of(session.handle) is not session:
            return
        if self._plane.transmitter.is_sending_digits(session.row):
            self._loop.call_later(_DIGITS_POLL_S, self._send_next_digits, session)
            return
        while session.digits_to_send:
            digits, duration_ms = session.digits_to_send[0]
            try:
                self._plane.send_digits(session.row, digits, duration_ms)
            except ValueError as error:
                session.digits_to_send.popleft()
                self._bots.tell(
                    session,
                    voicebot_pb2.CallEvent(
                        error=voicebot_pb2.CallError(code="send_dtmf", message=str(error))
                    ),
                )
                continue
            self._loop.call_later(_DIGITS_POLL_S, self._finish_digits, session)
            return

    def _finish_digits(self, session: Session) -> None:
        if self._sessions.session_of(session.handle) is session and self._plane.transmitter.is_sending_digits(
            session.row
        ):
            self._loop.call_later(_DIGITS_POLL_S, self._finish_digits, session)
            return
        session.digits_to_send.popleft()
        self._send_next_digits(session)
