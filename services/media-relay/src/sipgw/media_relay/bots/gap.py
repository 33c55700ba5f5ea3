"""CallGap: the time in which a call has no bot. The caller's audio and keys are kept meanwhile."""

from typing import Final

from sipgw.api import voicebot_pb2 as pb
from sipgw.media_relay.bots.missed import MissedFrame, MissedWords
from sipgw.media_relay.streams.bot_call import BotCall
from sipgw.media_relay.streams.columns import CallColumns
from sipgw.media_relay.streams.stream import CallStream

_NOTHING: Final = -1


class CallGap:
    """Open until the bot is ready, and from the loss of a stream until the bot has caught up.

    Keys are kept in every gap. Audio is kept in those that follow a bot which declared `replay`, and in the
    first one of a call that another relay had.
    """

    def __init__(self, row: int, call: BotCall, format_id: int, columns: CallColumns) -> None:
        self.row = row
        self.format_id = format_id
        self.frame_ms = call.bot_format.frame_ms
        self.stream: CallStream | None = None
        """The stream on which the bot catches up."""
        self.missed = MissedWords(self.frame_ms)
        self.is_open = True
        self._columns = columns
        self._replay_until = _NOTHING
        if call.resumed:
            columns.keep(row)

    def begin(self, lost: CallStream) -> None:
        """Keep audio and keys from now on: the bot lost its stream."""
        self.is_open = True
        self.stream = None
        if lost.wants_replay:
            self._columns.keep(self.row)

    def end(self, stream: CallStream) -> bool:
        """Announce the gap to a bot that is ready; return whether the bot wants the missed audio.

        A bot that does not gets only the keys.
        """
        last_seq = self.missed.last_seq
        if last_seq is None or not stream.wants_replay:
            self.missed.drop_frames()
            for event in self.missed.take(0).events:
                stream.send_event(event)
            self.catch_up()
            return False
        self._replay_until = last_seq
        self.stream = stream
        stream.send_event(pb.CallEvent(replay_mark=pb.ReplayMark(until_seq=last_seq)))
        return True

    def catch_up(self) -> None:
        """Note that the bot has caught up: it gets the caller's audio directly from now on."""
        self.is_open = False
        self.stream = None
        self._columns.release(self.row)

    def flags_of(self, frame: MissedFrame) -> int:
        """Return the flags of a frame that the bot gets late."""
        return frame.flags | (pb.AudioBatch.REPLAY if frame.seq <= self._replay_until else 0)
