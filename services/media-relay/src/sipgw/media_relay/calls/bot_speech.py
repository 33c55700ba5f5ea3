"""SpeechPlayer: plays the bots' speech to their callers: the `BotSpeech` of the bot streams."""

import numpy as np

from sipgw.audio import AudioFormat, PayloadU8
from sipgw.media_relay.calls.sessions import Sessions
from sipgw.media_relay.rtp.playout import PlayoutQueue
from sipgw.media_relay.streams.bot_call import HandlesU32


class SpeechPlayer:
    """Queues the speech of live calls and drops what arrives late for an ended call."""

    def __init__(self, sessions: Sessions, playout: PlayoutQueue) -> None:
        self._sessions = sessions
        self._playout = playout

    def bot_audio(self, handles: HandlesU32, frames: PayloadU8, audio_format: AudioFormat) -> None:
        """Queue a frame for each handle; see BotSpeech."""
        del audio_format
        rows = (handles & np.uint32(0xFFFF)).astype(np.intp)
        alive = self._sessions.handles.are_current(handles)
        if alive.all():
            self._playout.play_frames(rows, frames)
        else:
            self._playout.play_frames(rows[alive], frames[alive])

    def bot_speech(self, handle: int, data: bytes | memoryview, audio_format: AudioFormat) -> None:
        """Queue speech of any length; see BotSpeech."""
        del audio_format
        if (session := self._sessions.session_of(handle)) is not None:
            self._playout.play_bytes(session.row, data)
