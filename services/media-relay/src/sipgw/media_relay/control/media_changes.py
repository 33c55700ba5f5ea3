"""MediaChanges: put into effect the media that an edge and a caller agreed anew."""

from sipgw.api import voicebot_pb2
from sipgw.audio import AudioFormat, recoding_table
from sipgw.media_relay.calls.parts import CallParts
from sipgw.media_relay.calls.session import Session
from sipgw.media_relay.plane.media_parameters import MediaParameters
from sipgw.rtp.media_destination import Reach
from sipgw.runtime.telemetry.logs import get_logger

_log = get_logger("sipgw.media_relay.sessions")


class MediaChanges:
    """Changes the media of calls. Single-threaded, on the loop; nothing here waits."""

    def __init__(self, parts: CallParts) -> None:
        self._parts = parts

    def modify(self, session: Session, media: MediaParameters) -> None:
        """Apply the new media; tell the bot when the call is put on hold or taken off hold."""
        if media.wire.codec != session.media.wire.codec:
            self._change_codec(session, media.wire)
        was_held = session.is_held
        session.agree_media(media)
        self._parts.plane.modify(session.row, media, uplink_frame_ms=session.uplink_frame_ms)
        self.log_if_never(session)
        if was_held != session.is_held:
            hold = voicebot_pb2.Hold(on_hold=session.is_held)
            self._parts.bots.tell(session, voicebot_pb2.CallEvent(hold=hold))

    def log_if_never(self, session: Session) -> None:
        """Log why the caller hears nothing, if its address is one that media is never sent to."""
        if session.media.is_sending and self._parts.plane.reach(session.row) is Reach.NEVER:
            remote = session.media.remote
            _log.warning(
                "media_destination_refused",
                **session.log_ids,
                destination=f"{remote.host}:{remote.port}" if remote is not None else "",
                signalling=session.media.peer.destination.signalling_host,
                cure="see docs/explanation/media-addresses.md",
            )

    def _change_codec(self, session: Session, wire: AudioFormat) -> None:
        """Change the caller's codec. Queued speech is still played, and the recording goes on."""
        self._parts.recorder.recode(session.row, wire, recoding_table(session.media.wire, wire))
        session.agree_codec(wire.codec)
        self._parts.bots.change_codec(session, wire.codec)
