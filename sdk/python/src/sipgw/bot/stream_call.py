"""The bot's side of StreamCall: one call on one stream."""

import asyncio
from collections import deque

import grpc
import grpc.aio

from sipgw.api import voicebot_pb2 as pb
from sipgw.bot.call import Call, Frame
from sipgw.bot.calls import Attached, BotCalls, Refusal, RefusalKind
from sipgw.bot.config import FEATURES_METADATA, CallConfig
from sipgw.bot.events import event_from_wire
from sipgw.bot.wire import END, ServerContext

_WINDOW_MS = (
    4000  # speech ahead of the caller; less than any gateway queues, so that a clear is never stuck behind it
)
_MARK_EVERY_MS = 500
_ROOM_MARK = "sipgw.room."
_UNWRITTEN_BYTES = 65536  # for a gateway without marks: the limit of what waits for HTTP/2


class StreamCallSession:
    """Serves one RPC. StreamCall has no credit of its own: returned marks show how much was played."""

    def __init__(self, calls: BotCalls, context: ServerContext) -> None:
        self._calls = calls
        self._context = context
        self._has_marks = False
        self._mark_every = 0
        self._unmarked = 0
        self._sent = 0  # bytes of speech through this stream
        self._begin = 0
        self._outgoing: deque[pb.CallAction] = deque()
        self._wake = asyncio.Event()
        self._is_finished = False
        self._is_superseded = False
        self._left = asyncio.Event()  # the call goes on without this stream

    async def run(self) -> None:
        """Run the RPC. Returning is OK, "finished"; a failure aborts it."""
        first = await self._context.read()
        if first is END or first.WhichOneof("payload") != "config":
            await self._context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first event must be Config")
        config = CallConfig.from_wire(first.call_id, first.config, traceparent=self._traceparent())
        limit = self._room_limit(config)
        await self._context.send_initial_metadata((FEATURES_METADATA,))
        attachment = self._calls.attach(config, self, limit)
        if isinstance(attachment, Refusal):
            await self._refuse(attachment)
        else:
            await self._serve(attachment)

    # -- CallStream

    def send_audio(self, data: bytes) -> None:
        """Queue speech."""
        self._put(pb.CallAction(audio=pb.AudioChunk(data=data)))
        if self._has_marks:
            self._sent += len(data)
            self._unmarked += len(data)
            if self._unmarked >= self._mark_every:
                self._unmarked = 0
                self._put(pb.CallAction(mark=pb.Mark(name=f"{_ROOM_MARK}{self._sent}")))

    def send_action(self, action: pb.CallAction) -> None:
        """Queue an action."""
        self._put(action)

    def supersede(self) -> None:
        """End the RPC: a later stream has the call."""
        self._is_superseded = True
        self._left.set()

    # -- inside

    async def _refuse(self, refusal: Refusal) -> None:
        if refusal.kind is RefusalKind.SUPERSEDED:
            await self._context.abort(grpc.StatusCode.ABORTED, refusal.reason)
        elif refusal.kind is RefusalKind.BUSY:
            await self._context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refusal.reason)

    async def _serve(self, attached: Attached) -> None:
        call, handler = attached.call, attached.handler
        self._begin = attached.begin
        name = call.call_id
        reader = asyncio.create_task(self._read(call), name=f"stream-call-reader/{name}")
        writer = asyncio.create_task(self._write(call), name=f"stream-call-writer/{name}")
        leaving = asyncio.create_task(self._left.wait(), name=f"stream-call-leaving/{name}")
        try:
            await asyncio.wait({handler, leaving}, return_when=asyncio.FIRST_COMPLETED)
            failure = self._failure(handler)
            if not self._left.is_set():
                self._finish()
                await asyncio.wait({writer})
        finally:
            if handler.done():
                call.receive_end("the stream was closed")
            else:
                self._lose(call, "the stream was closed")
            for task in (reader, writer, leaving):
                task.cancel()
        if self._is_superseded:
            await self._context.abort(grpc.StatusCode.ABORTED, "superseded: a later stream has the call")
        if failure is not None:
            await self._context.abort(grpc.StatusCode.UNKNOWN, failure)

    def _failure(self, handler: asyncio.Task[str | None]) -> str | None:
        if not handler.done():
            return None
        return "stopped" if handler.cancelled() else handler.result()

    def _lose(self, call: Call, reason: str) -> None:
        """Note that the stream broke without ending the call."""
        call.detach(self, reason)
        if not call.is_over:
            self._left.set()

    def _room_limit(self, config: CallConfig) -> int:
        self._has_marks = "mark" in config.features
        if not self._has_marks:
            return _UNWRITTEN_BYTES
        bytes_per_ms = config.wire_format.frame_bytes / config.wire_format.frame_ms
        self._mark_every = int(_MARK_EVERY_MS * bytes_per_ms)
        return int(_WINDOW_MS * bytes_per_ms)

    def _put(self, action: pb.CallAction) -> None:
        self._outgoing.append(action)
        self._wake.set()

    def _finish(self) -> None:
        self._is_finished = True
        self._wake.set()

    async def _read(self, call: Call) -> None:
        replay_until: int | None = None
        while (event := await self._context.read()) is not END:
            if self._left.is_set():
                return
            match event.WhichOneof("payload"):
                case "audio":
                    seq = event.audio.seq
                    is_replay = replay_until is not None and seq <= replay_until
                    call.receive_frame(Frame(seq, event.audio.data, replay=is_replay))
                case "control":
                    call.receive_end("hangup")
                case "played" if event.played.mark.startswith(_ROOM_MARK):
                    count = int(event.played.mark.removeprefix(_ROOM_MARK))
                    call.speech.consumed_to(self._begin + count)
                case kind:
                    if kind == "replay_mark":
                        replay_until = event.replay_mark.until_seq
                    if (known := event_from_wire(event)) is not None:
                        call.receive_event(known)
        self._lose(call, "the gateway closed the stream")

    async def _write(self, call: Call) -> None:
        try:
            while True:
                while self._outgoing:
                    action = self._outgoing.popleft()
                    await self._context.write(action)
                    if not self._has_marks:
                        call.speech.consumed_to(call.speech.room.sent - self._unwritten())
                if self._is_finished:
                    return
                self._wake.clear()
                await self._wake.wait()
        except (grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError):
            self._lose(call, "the stream broke")

    def _unwritten(self) -> int:
        return sum(len(action.audio.data) for action in self._outgoing)

    def _traceparent(self) -> str:
        return dict(self._context.invocation_metadata() or ()).get("traceparent", "")
