"""StreamCall, the bot's side: one call on one stream (DESIGN §3.1)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from sipgw.api import voicebot_pb2 as pb
from sipgw.bot.call import Call, Frame
from sipgw.bot.config import FEATURES_METADATA, CallConfig
from sipgw.bot.events import event_from_wire
from sipgw.bot.room import PlayoutRoom
from sipgw.bot.wire import END

if TYPE_CHECKING:
    from sipgw.bot.calls import BotCalls
    from sipgw.bot.wire import ServerContext

_WINDOW_MS = (
    4000  # speech ahead of the ear; less than any gateway queues, so that a clear is never stuck behind it
)
_MARK_EVERY_MS = 500
_ROOM_MARK = "sipgw.room."
_UNWRITTEN_BYTES = 65536  # for a gateway without marks: what may wait for HTTP/2


class StreamCallSession:
    """Serves one RPC. StreamCall has no credit of its own: marks that come back tell what was played."""

    def __init__(self, calls: BotCalls, context: ServerContext) -> None:
        self._calls = calls
        self._context = context
        self._room = PlayoutRoom(_UNWRITTEN_BYTES)
        self._has_marks = False
        self._mark_every = 0
        self._unmarked = 0
        self._outgoing: deque[pb.CallAction] = deque()
        self._wake = asyncio.Event()
        self._is_finished = False
        self._call: Call | None = None

    async def run(self) -> None:
        """The RPC. Returning is OK, "finished"; a failure aborts it."""
        first = await self._context.read()
        if first is END or first.WhichOneof("payload") != "config":
            await self._context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first event must be Config")
        config = CallConfig.from_wire(first.call_id, first.config, traceparent=self._traceparent())
        refusal = self._calls.refusal(config)
        if refusal is not None:
            await self._context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refusal)
        await self._context.send_initial_metadata((FEATURES_METADATA,))
        self._configure_room(config)
        call, handler = self._calls.start(config, self, self._room)
        self._call = call
        reader = asyncio.create_task(self._read(call), name=f"stream-call-reader/{config.call_id}")
        writer = asyncio.create_task(self._write(call), name=f"stream-call-writer/{config.call_id}")
        try:
            await asyncio.wait({handler})
            failure = "stopped" if handler.cancelled() else handler.result()
            self._finish()
            await asyncio.wait({writer})
        finally:
            call.receive_end("the stream was closed")
            reader.cancel()
            writer.cancel()
        if failure is not None:
            await self._context.abort(grpc.StatusCode.UNKNOWN, failure)

    # -- CallStream

    def send_audio(self, data: bytes) -> None:
        self._put(pb.CallAction(audio=pb.AudioChunk(data=data)))
        if self._has_marks:
            self._unmarked += len(data)
            if self._unmarked >= self._mark_every:
                self._unmarked = 0
                self._put(pb.CallAction(mark=pb.Mark(name=f"{_ROOM_MARK}{self._room.sent}")))

    def send_action(self, action: pb.CallAction) -> None:
        self._put(action)

    # -- inside

    def _configure_room(self, config: CallConfig) -> None:
        self._has_marks = "mark" in config.features
        if self._has_marks:
            bytes_per_ms = config.wire_format.frame_bytes / config.wire_format.frame_ms
            self._room.limit_to(int(_WINDOW_MS * bytes_per_ms))
            self._mark_every = int(_MARK_EVERY_MS * bytes_per_ms)

    def _put(self, action: pb.CallAction) -> None:
        self._outgoing.append(action)
        self._wake.set()

    def _finish(self) -> None:
        self._is_finished = True
        self._wake.set()

    async def _read(self, call: Call) -> None:
        while (event := await self._context.read()) is not END:
            match event.WhichOneof("payload"):
                case "audio":
                    call.receive_frame(Frame(event.audio.seq, event.audio.data))
                case "control":
                    call.receive_end("hangup")
                case "played" if event.played.mark.startswith(_ROOM_MARK):
                    self._room.consumed_to(int(event.played.mark.removeprefix(_ROOM_MARK)))
                case _:
                    if (known := event_from_wire(event)) is not None:
                        call.receive_event(known)
        call.receive_end("the gateway closed the stream")

    async def _write(self, call: Call) -> None:
        try:
            while True:
                while self._outgoing:
                    action = self._outgoing.popleft()
                    await self._context.write(action)
                    if not self._has_marks:
                        self._room.consumed_to(self._room.sent - self._unwritten())
                if self._is_finished:
                    return
                self._wake.clear()
                await self._wake.wait()
        except (grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError):
            call.receive_end("the stream broke")

    def _unwritten(self) -> int:
        return sum(len(action.audio.data) for action in self._outgoing)

    def _traceparent(self) -> str:
        return dict(self._context.invocation_metadata() or ()).get("traceparent", "")
