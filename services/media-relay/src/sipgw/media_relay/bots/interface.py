"""What the sessions and the bot streams say to each other. No gRPC type crosses this line but `CallEvent`.

All methods are plain calls on the relay's event loop: they return at once, never block, never raise for a
peer's fault. A `handle` is the session's own (`generation << 16 | row`); after `close` it is not used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sipgw.media_relay.pipeline.stage import Stage

if TYPE_CHECKING:
    from sipgw.api import voicebot_pb2
    from sipgw.audio import AudioFormat, Codec, PayloadU8
    from sipgw.media_relay.pipeline.block import FrameBlock
    from sipgw.media_relay.streams.bot_call import BotCall, BytesU64, HandlesU32
    from sipgw.media_relay.streams.counters import BotCounters


class BotSpeech(Protocol):
    """Takes what the bots of all calls say, in wire format; per handle in the order of the speech."""

    def bot_audio(self, handles: HandlesU32, frames: PayloadU8, audio_format: AudioFormat) -> None:
        """Whole frames in wire format, shape (n, frame_bytes): one for each of n different handles."""
        ...

    def bot_speech(self, handle: int, data: bytes | memoryview, audio_format: AudioFormat) -> None:
        """Speech of any length for one handle, in wire format: all of it is to be played, a burst too."""
        ...


class BotListener(Protocol):
    """Hears what the bots do beside speaking. Per handle in the order in which the bot did it."""

    def bot_ready(
        self, handle: int, *, confirmed: bool, address: str, protocol: str, can_resume: bool
    ) -> None:
        """The bot takes the call; again after each reconnect. `protocol` is "trunk" or "stream_call"."""
        ...

    def bot_mark(self, handle: int, name: str) -> None:
        """Answer with send_event(Played{mark=name}) once the speech before it has been played or dropped."""
        ...

    def bot_clear(self, handle: int, name: str) -> None:
        """Drop what is unplayed within one frame, then send_event(Played{mark=name, cleared=True, ...})."""
        ...

    def bot_send_dtmf(self, handle: int, digits: str, duration_ms: int) -> None: ...

    def bot_hangup(self, handle: int, reason: str, *, at_once: bool) -> None:
        """Not at_once: when the speech before it has been played, at most 60 s later."""
        ...

    def bot_transfer(self, handle: int, target: str, *, at_once: bool) -> None:
        """Not at_once: when the speech before it has been played, at most 60 s later."""
        ...

    def bot_finished(self, handle: int) -> None:
        """The bot ended its stream with OK: drain, then hang up, by route. Nothing more comes."""
        ...

    def bot_lost(self, handle: int, reason: str) -> None:
        """The stream broke; it is being opened again and the caller hears silence."""
        ...

    def bot_failed(self, handle: int, reason: str, *, before_ready: bool) -> None:
        """Ready timeout, reconnect limit or refusal: nothing more comes. The session still calls `close`."""
        ...

    def bot_superseded(self, handle: int) -> None:
        """The bot has the call on a later stream, by another relay. Nothing more comes."""
        ...

    def bot_silent(self, handle: int, after_ms: int) -> None:
        """An unconfirmed bot has said nothing for so long. The stream stays open; the session decides."""
        ...


class BotGateway(Protocol):
    """The bot streams, as the sessions see them. `GrpcBridgeStage` is one, and a pipeline stage as well."""

    def open(self, handle: int, call: BotCall, listener: BotListener) -> None:
        """Attach the call to a bot; `listener` hears what the bot does. bot_ready or bot_failed follows."""
        ...

    def change_codec(self, handle: int, codec: Codec) -> None:
        """The caller has another codec from now on; the bot keeps its format and notices nothing."""
        ...

    def send_audio(self, block: FrameBlock) -> None:
        """Caller's audio: one frame for each row. Rows without a stream are dropped."""
        ...

    def send_digit(self, handle: int, digit: str, *, end: bool) -> None: ...

    def send_event(self, handle: int, event: voicebot_pb2.CallEvent) -> None:
        """An added event; undeclared bots don't get it. call_id is filled in."""
        ...

    def consumed(self, handles: HandlesU32, total_bytes: BytesU64) -> None:
        """Wire bytes of bot speech played *or dropped* since `open`, per handle; at least every 100 ms."""
        ...

    def warm(self, call: BotCall) -> None:
        """The call will be opened soon: connect to its bot."""
        ...

    def close(self, handle: int, reason: str, *, moved: bool = False) -> None:
        """The call is over: the bot gets HANGUP (trunk: End). The handle is forgotten at once.

        `moved`: it is over here only, and a bot that resumes gets no HANGUP.
        """
        ...

    async def aclose(self) -> None:
        """Close every call and stream; returns when their tasks have ended."""
        ...


class BotStage(BotGateway, Stage, Protocol):
    """The bot streams as the relay has them: in the pipeline, and for the commands on calls."""

    @property
    def counters(self) -> BotCounters: ...
