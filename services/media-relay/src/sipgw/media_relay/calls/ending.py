"""Ending: end a call on this relay: free everything it has and tell its edge the totals."""

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.calls.parts import CallParts
from sipgw.media_relay.calls.quality import observe_quality
from sipgw.media_relay.calls.session import Session
from sipgw.runtime.telemetry.logs import get_logger

_log = get_logger("sipgw.media_relay.sessions")


class Ending:
    """Ends calls, or puts them in doubt. Single-threaded, on the loop; nothing here waits."""

    def __init__(self, parts: CallParts) -> None:
        self._parts = parts

    def end(self, session: Session, reason: str, *, moved: bool = False) -> None:
        """Free everything the call has, and tell its edge. `moved`: the call goes on elsewhere."""
        parts = self._parts
        totals = self._totals(session)
        observe_quality(parts.plane, session.row, session.trace)
        parts.bots.close(session, reason, moved=moved)
        parts.recorder.close(session.row)
        parts.plane.close(session.row)
        parts.sessions.remove(session)
        parts.events.tell(session, session_ended=pb.SessionEnded(reason=reason, totals=totals))
        _log.info("session_ended", **session.log_ids, reason=reason)

    def end_all(self, reason: str) -> None:
        """End every call of the relay."""
        for session in self._parts.sessions:
            self.end(session, reason)

    def doubt_all(self) -> None:
        """Mute every call until it is known to be on this relay still.

        This process stood still, and its calls may have been moved. Either a command of an edge proves that a
        call was not, or its caller, who goes on sending to this relay. Other calls are freed as unconfirmed.
        """
        for session in self._parts.sessions:
            session.doubt(self._parts.sessions.now_s)
            self._parts.plane.mute(session.row)

    def _totals(self, session: Session) -> pb.MediaTotals:
        plane, row = self._parts.plane, session.row
        reception = plane.receiver.totals(row)
        return pb.MediaTotals(
            packets_received=reception.received,
            packets_sent=int(plane.transmitter.sent[row]),
            packets_lost=reception.lost,
            packets_strange=plane.strangers_of(row),
            jitter_ms=reception.jitter_ms,
            digits=session.digits,
            recording_path=self._parts.recorder.path(row),
            bot_audio_ms=int(plane.playout.played[row]) // 8,
        )
