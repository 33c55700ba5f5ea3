"""One call on its own StreamCall stream, also for bots that know no added field.

Until a bot has declared itself it gets Config, AudioChunk, DtmfEvent and HANGUP only. There is no ack: while
a write blocks, the writer keeps the newest 200 ms of audio and every event. Reading stops while the session
has no room for speech, so that the bot's own writes block.
"""

import asyncio
from collections import deque
from typing import Final

import grpc

from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.media_relay.errors import BotUnavailable, BotUnimplemented
from sipgw.media_relay.streams.bot_call import BotCall
from sipgw.media_relay.streams.columns import NO_STREAM, OWN_STREAM
from sipgw.media_relay.streams.parts import StreamParts
from sipgw.media_relay.streams.rpc import BidiCall, RpcStatus
from sipgw.media_relay.streams.stream import AttachedCall, Broken, Finished, StreamEnd, Superseded
from sipgw.media_relay.streams.wire import FEATURES_KEY, REPLAY, RESUME, SUPERSEDED

DECLARE_GRACE_S: Final = 0.1
"""How long a bot that never declared itself has to do so before it counts as ready."""
_HANGUP_LINGER_S: Final = 2.0
_AUDIO_LIMIT_MS: Final = 200
_PIECE_BYTES: Final = 8192
_EVENT_LIMIT: Final = 1000
_ADDED_ACTIONS: Final = frozenset({"mark", "clear", "send_dtmf", "hangup_now", "transfer_now", "accept"})
_OLD_EVENTS: Final = frozenset({"config", "audio", "dtmf", "control"})
_Rpc = BidiCall[pb.CallEvent, pb.CallAction]


class StreamCall:
    """`open` writes Config. Reader and writer then run until the stream or the call ends."""

    def __init__(self, attached: AttachedCall, call: BotCall, parts: StreamParts) -> None:
        self.is_declared = False
        self._features: frozenset[str] = frozenset()
        self.has_spoken = False
        """Whether the bot has sent anything at all: metadata or a message."""
        self._attached = attached
        self._bot_call = call
        self._row = attached.row
        self._columns = parts.columns
        self._sink = parts.sink
        self._counters = parts.counters
        self._frame_samples = call.bot_format.frame_samples
        self._audio_limit = max(1, _AUDIO_LIMIT_MS // call.bot_format.frame_ms)
        self._outgoing: deque[pb.CallEvent] = deque()
        self._audio_queued = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._declaring = asyncio.Event()
        self._is_open = False
        self._is_closing = False
        self._end: StreamEnd | None = None
        self._rpc: BidiCall[pb.CallEvent, pb.CallAction] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, channel: grpc.aio.Channel, config: pb.Config, *, must_declare: bool) -> None:
        """Open the stream and wait until the bot is ready.

        Ready means that it declared itself, spoke, or (unless it must declare) has the Config. Raises
        BotUnavailable with the stream closed. The caller bounds the time.
        """
        call = self._bot_call
        metadata = [("sipgw-call-id", call.call_id)]
        if call.traceparent:
            metadata.append(("traceparent", call.traceparent))
        stub = voicebot_pb2_grpc.VoiceBotStub(channel)
        self._rpc = rpc = _Rpc(stub.StreamCall(metadata=tuple(metadata)))
        name = call.call_id
        try:
            config_event = pb.CallEvent(call_id=call.call_id, config=config)
            if not await rpc.write(config_event):
                raise _unavailable(await rpc.status)
            self._counters.stream_calls_opened += 1
            if not self._is_closing:
                self._columns.stream[self._row] = OWN_STREAM
            # Only once the row has the stream: a bot that declares itself at once then misses nothing.
            self._tasks = [
                asyncio.create_task(self._await_metadata(rpc), name=f"stream-call-metadata/{name}"),
                asyncio.create_task(self._write(rpc), name=f"stream-call-writer/{name}"),
                asyncio.create_task(self._read(rpc), name=f"stream-call-reader/{name}"),
            ]
            await self._await_ready(must_declare=must_declare)
        except asyncio.CancelledError:
            self.abandon()
            raise
        if isinstance(self._end, Broken):
            raise _unavailable(await rpc.status)
        if self._is_closing and self._end is None:
            raise BotUnavailable("the call is over")
        self._attached.became_ready(confirmed=self.has_spoken)
        self._is_open = True
        if self._end is not None:
            self._attached.stream_ended(self._end)

    def send_audio(self, seq: int, data: bytes) -> None:
        """Send a caller's frame; drop the oldest unsent one when the bot does not keep up."""
        if self._audio_queued >= self._audio_limit:
            self._drop_oldest_audio()
        chunk = pb.AudioChunk(seq=seq, timestamp=seq * self._frame_samples, data=data)
        self._outgoing.append(pb.CallEvent(call_id=self._bot_call.call_id, audio=chunk))
        self._audio_queued += 1
        self._wake.set()

    def send_event(self, event: pb.CallEvent) -> None:
        """Send an event; added events go only to a declared bot."""
        if not self.is_declared and event.WhichOneof("payload") not in _OLD_EVENTS:
            self._counters.events_dropped_undeclared += 1
            return
        if len(self._outgoing) - self._audio_queued >= _EVENT_LIMIT:
            if self._rpc is not None:
                self._rpc.cancel()  # a thousand key presses unread: the bot is dead
            return
        event.call_id = self._bot_call.call_id
        self._outgoing.append(event)
        self._wake.set()

    def give_credit(self) -> None:
        """Let the reader go on: there may be room again."""
        self._room.set()

    @property
    def can_resume(self) -> bool:
        """Whether the bot declared `resume`."""
        return RESUME in self._features

    @property
    def wants_replay(self) -> bool:
        """Whether the bot declared `replay`."""
        return REPLAY in self._features

    @property
    def keeps_up(self) -> bool:
        """Whether all messages are written; see CallStream."""
        return self._is_open and not self._audio_queued

    def close(self, reason: str, *, moved: bool = False) -> None:
        """Send HANGUP, unless the call goes on elsewhere, and give the bot two seconds to end the stream."""
        if self._end is not None or self._is_closing:
            return
        self._leave_row()
        while self._audio_queued:
            self._drop_oldest_audio()
        if not (moved and self.can_resume):
            control = pb.ControlEvent(type=pb.ControlEvent.HANGUP)
            self._outgoing.append(pb.CallEvent(call_id=self._bot_call.call_id, control=control))
        self._wake.set()
        self._room.set()
        self._declaring.set()

    async def closed(self) -> None:
        """Wait, after `close`, until the stream is gone."""
        if self._rpc is not None:
            await asyncio.wait({self._rpc.status}, timeout=_HANGUP_LINGER_S)
            self.abandon()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abandon(self) -> None:
        """Cancel the stream at once."""
        if not self._is_closing:
            self._leave_row()
        if self._rpc is not None:
            self._rpc.cancel()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _leave_row(self) -> None:
        """Leave the row, which another call may have from now on."""
        self._is_closing = True
        if self._columns.stream[self._row] == OWN_STREAM:
            self._columns.stream[self._row] = NO_STREAM

    # -- ready

    async def _await_metadata(self, rpc: BidiCall[pb.CallEvent, pb.CallAction]) -> None:
        metadata = await rpc.initial_metadata()
        if rpc.status.done() and not rpc.status.result().is_ok:
            return
        if FEATURES_KEY in metadata:
            self.is_declared = True
            self._features = frozenset(metadata[FEATURES_KEY].split(","))
        self._spoke()

    def _spoke(self) -> None:
        if not self.has_spoken:
            self.has_spoken = True
            if not self._is_closing:
                self._attached.became_ready(confirmed=True)
            self._declaring.set()

    async def _await_ready(self, *, must_declare: bool) -> None:
        try:
            await asyncio.wait_for(self._declaring.wait(), None if must_declare else DECLARE_GRACE_S)
        except TimeoutError:
            return

    # -- reading

    async def _read(self, rpc: BidiCall[pb.CallEvent, pb.CallAction]) -> None:
        while (action := await rpc.read()) is not None:
            self._spoke()
            kind = action.WhichOneof("payload")
            if kind == "audio":
                await self._receive_speech(action.audio.data)
            elif kind is not None:
                self.is_declared = self.is_declared or kind in _ADDED_ACTIONS
                if not self._is_closing:
                    self._attached.receive_action(action)
        self._ended(await rpc.status)

    async def _receive_speech(self, data: bytes) -> None:
        """Pass all speech on, a piece at a time as room allows."""
        rest = memoryview(data)
        while len(rest) and not self._is_closing:
            room = self._columns.room(self._row)
            if room <= 0:
                self._room.clear()
                self._columns.is_waiting[self._row] = True
                await self._room.wait()
                continue
            piece = min(room, _PIECE_BYTES)
            self._sink.receive_speech(self._row, rest[:piece])
            rest = rest[piece:]
            if len(rest):
                await asyncio.sleep(0)  # a long speech is converted between ticks, not in one

    def _ended(self, status: RpcStatus) -> None:
        self._end = _end_of(status)
        if not self._is_closing:
            self._leave_row()
            if self._is_open:
                self._attached.stream_ended(self._end)
        self._declaring.set()
        self._wake.set()

    # -- writing

    async def _write(self, rpc: BidiCall[pb.CallEvent, pb.CallAction]) -> None:
        while True:
            while self._outgoing:
                event = self._outgoing.popleft()
                if event.WhichOneof("payload") == "audio":
                    self._audio_queued -= 1
                if not await rpc.write(event):
                    return  # the reader meets the same end
            if self._is_closing:
                await rpc.done_writing()
                return
            self._wake.clear()
            await self._wake.wait()

    def _drop_oldest_audio(self) -> None:
        for index, event in enumerate(self._outgoing):
            if event.WhichOneof("payload") == "audio":
                del self._outgoing[index]
                self._audio_queued -= 1
                self._counters.audio_dropped_unacked += 1
                return


def _end_of(status: RpcStatus) -> StreamEnd:
    if status.code is grpc.StatusCode.ABORTED and status.details.startswith(SUPERSEDED):
        return Superseded()
    return Finished() if status.is_ok else Broken(str(status))


def _unavailable(status: RpcStatus) -> BotUnavailable:
    kind = BotUnimplemented if status.code is grpc.StatusCode.UNIMPLEMENTED else BotUnavailable
    return kind(str(status))
