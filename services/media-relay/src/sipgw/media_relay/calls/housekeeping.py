"""Free sessions that no edge wants, and tell edges of silent callers, once a second."""

import time
from typing import Final

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.calls.ending import Ending
from sipgw.media_relay.calls.parts import CallParts
from sipgw.media_relay.calls.session import Session

UNCONFIRMED_S: Final = 10.0
DOUBT_S: Final = 2.0
"""How long after a stall a caller's packets prove nothing: edges need less to move a silent relay's calls."""
_HEARD_WITHIN_S: Final = 0.2
ORPHAN_S: Final = 60.0
UNACKNOWLEDGED_S: Final = 40.0
"""How long a call without an edge may hold the bot's voice for the ACK: a caller has 64*T1 = 32 s for it."""
_UNACKED_MS: Final = 300_000


class Housekeeping:
    """Runs once a second. An edge is told of `media_timeout_s` without RTP; 0: never."""

    def __init__(self, parts: CallParts, ending: Ending, *, media_timeout_s: float) -> None:
        self._sessions = parts.sessions
        self._events = parts.events
        self._plane = parts.plane
        self._ending = ending
        self._media_timeout_s = media_timeout_s

    def step(self, tick_number: int, tick_s: float) -> None:
        """Free orphaned sessions, report silent callers, and drop old events."""
        now_s = self._sessions.now_s
        for session in self._sessions:
            if self._events.is_attached(session.edge):
                session.note_edge(now_s)
            silent_s = (tick_number - int(self._plane.receiver.last_heard[session.row])) * tick_s
            if self._is_heard_again(session, silent_s, now_s):
                session.confirm()
                self._plane.unmute(session.row)
            elif not session.is_confirmed:
                if now_s - session.created_s >= UNCONFIRMED_S:
                    self._ending.end(session, "no edge confirmed the session")
            elif silent_s >= ORPHAN_S and now_s - session.attached_s >= ORPHAN_S:
                self._ending.end(session, "no edge is connected and no RTP comes")
            elif now_s - session.attached_s >= UNACKNOWLEDGED_S and self._plane.is_held(session.row):
                self._ending.end(session, "no edge is connected and no ACK was reported")
            else:
                self._watch_silence(session, silent_s, now_s)
        self._events.forget(time.time_ns() // 1_000_000 - _UNACKED_MS)

    def _is_heard_again(self, session: Session, silent_s: float, now_s: float) -> bool:
        """Return whether the caller of a doubted session still sends to this relay.

        It counts only some time after the stall: packets from before may have waited in the socket, and by
        then a call that is being moved has left.
        """
        return (
            session.is_doubted
            and session.is_started
            and silent_s <= _HEARD_WITHIN_S
            and now_s - session.created_s >= DOUBT_S
        )

    def _watch_silence(self, session: Session, silent_s: float, now_s: float) -> None:
        if not session.is_started or not session.media.is_receiving or not self._media_timeout_s:
            return
        silent_s = min(silent_s, now_s - session.answered_s)
        if silent_s < self._media_timeout_s:
            session.note_heard()
        elif session.time_out():
            timed_out = pb.MediaTimedOut(silent_ms=int(silent_s * 1000))
            self._events.tell(session, media_timed_out=timed_out)
