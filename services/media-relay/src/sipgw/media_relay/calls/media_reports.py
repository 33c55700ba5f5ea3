"""MediaReports: report a call's media to its edge, its bot, its trace and the metrics."""

import time

import numpy as np
import numpy.typing as npt

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay import instruments
from sipgw.media_relay.calls.call_bots import CallBots
from sipgw.media_relay.calls.event_log import EventLog
from sipgw.media_relay.calls.session import KeyWay, Session
from sipgw.media_relay.calls.sessions import Sessions
from sipgw.rtp.source_latch import Source
from sipgw.runtime.telemetry.metrics import observe
from sipgw.runtime.telemetry.traces import record_span


class MediaReports:
    """The `MediaListener` of the media plane. Rows are those of open calls."""

    def __init__(self, sessions: Sessions, events: EventLog, bots: CallBots) -> None:
        self._sessions = sessions
        self._events = events
        self._bots = bots

    def media_started(self, row: int, source: Source) -> None:
        """Tell the edge of the caller's first packet; see MediaListener."""
        if (session := self._sessions.at_row(row)) is not None:
            started = pb.MediaStarted(address=source.host, port=source.port)
            self._events.tell(session, media_started=started)
            _span_since_answer(session, "first packet", {"peer": f"{source.host}:{source.port}"})

    def digit_started(self, row: int, digit: str) -> None:
        """Tell the bot of a pressed key; see MediaListener."""
        session = self._sessions.at_row(row)
        if session is not None and session.takes_keys_by(KeyWay.RTP):
            self._bots.tell_digit(session, digit, end=False)

    def digit_ended(self, row: int, digit: str, duration_ms: int) -> None:
        """Tell edge and bot of a released key; see MediaListener."""
        session = self._sessions.at_row(row)
        if session is not None and session.takes_keys_by(KeyWay.RTP):
            self._key_ended(session, digit, duration_ms)

    def key_signalled(self, session: Session, digit: str, duration_ms: int) -> None:
        """Tell edge and bot of a key that came by signalling, unless the call's keys come as RTP."""
        if session.takes_keys_by(KeyWay.SIGNALLING):
            self._bots.tell_digit(session, digit, end=False)
            self._key_ended(session, digit, duration_ms)

    def _key_ended(self, session: Session, digit: str, duration_ms: int) -> None:
        session.add_digit(digit)
        self._bots.tell_digit(session, digit, end=True)
        received = pb.DigitReceived(digit=digit, duration_ms=duration_ms)
        self._events.tell(session, digit_received=received)
        now_ns = time.time_ns()  # the span does not say which key: people type PINs
        record_span("DTMF", session.trace, now_ns - duration_ms * 1_000_000, now_ns)

    def bot_heard(self, row: int) -> None:
        """Tell the edge that the caller hears the bot; see MediaListener."""
        session = self._sessions.at_row(row)
        if session is None:
            return
        after_s = self._sessions.now_s - session.answered_s if session.is_started else 0.0
        self._events.tell(session, bot_spoke=pb.BotSpoke(after_answer_ms=int(after_s * 1000)))
        _span_since_answer(session, "first bot audio", {})
        if session.is_started:
            observe(instruments.FIRST_AUDIO, after_s, session.trace)

    def bot_responded(self, row: int, response_s: float) -> None:
        """Report the bot's response time: the bot has begun to answer the caller."""
        if (session := self._sessions.at_row(row)) is not None:
            observe(instruments.BOT_RESPONSE, response_s, session.trace)
            now_ns = time.time_ns()
            record_span("turn", session.trace, now_ns - int(response_s * 1e9), now_ns)

    def audio_consumed(self, rows: npt.NDArray[np.intp], total_bytes: npt.NDArray[np.int64]) -> None:
        """Tell the bots of their consumed speech; see MediaListener."""
        self._bots.tell_consumed(self._sessions.handles.of_rows(rows), total_bytes)


def _span_since_answer(session: Session, name: str, attributes: dict[str, str]) -> None:
    """Record a span of the call's trace from the answer until now, or of no length before the answer."""
    now_ns = time.time_ns()
    record_span(name, session.trace, session.answered_ns or now_ns, now_ns, attributes)
