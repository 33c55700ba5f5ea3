"""The interface between the calls and the bot streams. No gRPC type crosses it but `CallEvent`.

All methods are plain calls on the relay's event loop: they return at once, never block, and never raise for a
peer's fault. A `handle` is `generation << 16 | row`; after `close` it is not used again.
"""

from typing import Protocol

from sipgw.api import voicebot_pb2
from sipgw.audio import AudioFormat, Codec, PayloadU8
from sipgw.media_relay.pipeline.stage import Stage
from sipgw.media_relay.streams.bot_call import BotCall, BytesU64, HandlesU32
from sipgw.media_relay.streams.counters import BotCounters


class BotSpeech(Protocol):
    """Takes the speech of all bots, in wire format. Calls for one handle are in the order of the speech."""

    def bot_audio(self, handles: HandlesU32, frames: PayloadU8, audio_format: AudioFormat) -> None:
        """Play whole frames in wire format, shape (n, frame_bytes): one for each of n different handles."""
        ...

    def bot_speech(self, handle: int, data: bytes | memoryview, audio_format: AudioFormat) -> None:
        """Play speech of any length for one handle, in wire format. A burst is played whole."""
        ...


class BotListener(Protocol):
    """Receives the actions of bots other than speech, for each handle in the order of its bot's actions."""

    def bot_ready(
        self, handle: int, *, confirmed: bool, address: str, protocol: str, can_resume: bool
    ) -> None:
        """Note that the bot takes the call; repeated after each reconnect.

        `protocol` is "trunk" or "stream_call".
        """
        ...

    def bot_mark(self, handle: int, name: str) -> None:
        """Answer with send_event(Played{mark=name}) once the speech before the mark was played or dropped."""
        ...

    def bot_clear(self, handle: int, name: str) -> None:
        """Drop unplayed speech within one frame, then send_event(Played{mark=name, cleared=True, ...})."""
        ...

    def bot_send_dtmf(self, handle: int, digits: str, duration_ms: int) -> None:
        """Send keys to the caller, after those under way."""
        ...

    def bot_hangup(self, handle: int, reason: str, *, at_once: bool) -> None:
        """Hang up: at once, or when the speech before was played, at most 60 s later."""
        ...

    def bot_transfer(self, handle: int, target: str, *, at_once: bool) -> None:
        """Transfer: at once, or when the speech before was played, at most 60 s later."""
        ...

    def bot_finished(self, handle: int) -> None:
        """Drain the speech, then hang up as the route says: the bot ended its stream with OK.

        Nothing follows.
        """
        ...

    def bot_lost(self, handle: int, reason: str) -> None:
        """Note that the stream broke. It is being opened again, and the caller hears silence."""
        ...

    def bot_failed(self, handle: int, reason: str, *, before_ready: bool) -> None:
        """Note that the bot timed out, stayed unreachable or refused.

        Nothing follows; `close` is still called.
        """
        ...

    def bot_superseded(self, handle: int) -> None:
        """Note that the bot has the call on a later stream of another relay. Nothing follows."""
        ...

    def bot_silent(self, handle: int, after_ms: int) -> None:
        """Note that an unconfirmed bot has said nothing for this long. The stream stays open."""
        ...


class BotGateway(Protocol):
    """The bot streams, as the calls see them. `GrpcBridgeStage` is one, and a pipeline stage as well."""

    def open(self, handle: int, call: BotCall, listener: BotListener) -> None:
        """Attach the call to a bot; `listener` receives its actions. bot_ready or bot_failed follows."""
        ...

    def change_codec(self, handle: int, codec: Codec) -> None:
        """Convert to the caller's new codec from now on. The bot keeps its format and notices nothing."""
        ...

    def send_digit(self, handle: int, digit: str, *, end: bool) -> None:
        """Tell the call's bot that the caller pressed a key, or with `end` released it."""
        ...

    def send_event(self, handle: int, event: voicebot_pb2.CallEvent) -> None:
        """Send an event that the original protocol lacks; undeclared bots don't get it.

        call_id is filled in.
        """
        ...

    def consumed(self, handles: HandlesU32, total_bytes: BytesU64) -> None:
        """Note the wire bytes played *or dropped* since `open`, per handle; at least every 100 ms."""
        ...

    def warm(self, call: BotCall) -> None:
        """Connect to the bot of a call that will be opened soon."""
        ...

    def close(self, handle: int, reason: str, *, moved: bool = False) -> None:
        """End the call for the bot, with HANGUP (on a trunk: End). The handle is forgotten at once.

        `moved`: the call goes on on another relay, so a bot that can resume gets no HANGUP.
        """
        ...

    async def aclose(self) -> None:
        """Close every call and stream; return when their tasks have ended."""
        ...


class BotStage(BotGateway, Stage, Protocol):
    """The bot streams as the relay has them: a stage of the pipeline, and a gateway for the calls."""

    @property
    def counters(self) -> BotCounters:
        """Totals for the relay's metrics."""
        ...
