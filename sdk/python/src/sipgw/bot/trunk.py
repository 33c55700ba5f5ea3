"""The bot's side of Trunk: many calls on one stream (docs/explanation/bot-protocol.md).

Reading never waits for a handler: each call has its own queues. Writing is one task, fed by `TrunkComposer`.
"""

import asyncio

import grpc
import grpc.aio

from sipgw.api import voicebot_pb2 as pb
from sipgw.bot.call import Call, Frame
from sipgw.bot.calls import Attached, BotCalls, Refusal, RefusalKind
from sipgw.bot.config import FEATURES, CallConfig
from sipgw.bot.events import event_from_wire
from sipgw.bot.trunk_writer import TrunkComposer
from sipgw.bot.wire import END, Acknowledger, ServerContext

_FLUSH_S = 1.0


class TrunkSession:
    """Serves one RPC."""

    def __init__(self, calls: BotCalls, context: ServerContext, instance: str) -> None:
        self._calls = calls
        self._context = context
        self._instance = instance
        self._attached: dict[int, _TrunkCall] = {}
        self._composer = TrunkComposer()
        self._wake = asyncio.Event()
        self._acknowledger = Acknowledger()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._is_closing = False

    async def run(self) -> None:
        """Run the RPC until the gateway closes it or the bot stops."""
        reader = asyncio.create_task(self._read(), name="trunk-reader")
        writer = asyncio.create_task(self._write(), name="trunk-writer")
        stopping = asyncio.ensure_future(self._calls.stopped.wait())
        try:
            await asyncio.wait({reader, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._is_closing = True
            self._wake.set()
            await asyncio.wait({writer}, timeout=_FLUSH_S)
        finally:
            if self._ack_timer is not None:
                self._ack_timer.cancel()
            for attached in list(self._attached.values()):
                attached.lose("the trunk was closed")
            self._attached.clear()
            for task in (reader, writer, stopping):
                task.cancel()

    def send_audio(self, attached: "_TrunkCall", data: bytes) -> None:
        """Queue speech of one call."""
        audio_format = attached.format
        self._composer.add_audio(
            attached.handle, data, format_id=audio_format.id, frame_bytes=audio_format.frame_bytes
        )
        self._wake.set()

    def send(self, action: pb.TrunkAction) -> None:
        """Queue an action."""
        self._composer.add(action)
        self._wake.set()

    # -- inside

    async def _read(self) -> None:
        while (message := await self._context.read()) is not END:
            self._receive(message)

    def _receive(self, message: pb.TrunkEvents) -> None:
        acks = 0
        for item in message.items:
            match item.WhichOneof("item"):
                case "audio":
                    self._receive_audio(item.audio)
                case "event":
                    if (attached := self._attached.get(item.event.handle)) is not None:
                        attached.receive_event(item.event.event)
                case "start":
                    self._start(item.start)
                case "end":
                    if (attached := self._attached.pop(item.end.handle, None)) is not None:
                        attached.receive_end(item.end)
                case "ack":
                    acks += 1
                    self._receive_ack(item.ack)
                case "hello":
                    hello = pb.Hello(
                        features=FEATURES, max_calls=self._calls.max_calls, instance=self._instance
                    )
                    self.send(pb.TrunkAction(hello=hello))
                case _:
                    pass  # an item of a newer gateway
        self._acknowledger.received(items=len(message.items), acks=acks, now=self._loop.time())
        self._schedule_ack()

    def _receive_audio(self, batch: pb.AudioBatch) -> None:
        size, audio = batch.frame_bytes, batch.audio
        flags = batch.flags or (0,) * len(batch.handles)
        start = 0
        for handle, seq, flag in zip(batch.handles, batch.seq, flags, strict=True):
            attached = self._attached.get(handle)
            if attached is not None:
                concealed, replay = bool(flag & pb.AudioBatch.CONCEALED), bool(flag & pb.AudioBatch.REPLAY)
                attached.receive_frame(Frame(seq, audio[start : start + size], concealed, replay))
            start += size

    def _receive_ack(self, ack: pb.Ack) -> None:
        for credit in ack.credits:
            if (attached := self._attached.get(credit.handle)) is not None:
                attached.consumed(credit.consumed_bytes)

    def _start(self, start: pb.Start) -> None:
        config = CallConfig.from_wire(start.call_id, start.config, traceparent=start.traceparent)
        attached = _TrunkCall(self, start)
        attached.send_action(pb.CallAction(accept=pb.Accept()))
        attachment = self._calls.attach(config, attached, start.credit_bytes or None)
        if isinstance(attachment, Refusal):
            end = pb.End(
                handle=start.handle,
                reason=attachment.reason,
                failed=attachment.kind is not RefusalKind.FINISHED,
                superseded=attachment.kind is RefusalKind.SUPERSEDED,
            )
            self.send(pb.TrunkAction(end=end))
            return
        self._attached[start.handle] = attached
        attached.serve(attachment)

    def superseded(self, handle: int) -> None:
        """Drop further speech on this handle: a later stream has its call."""
        if self._attached.pop(handle, None) is not None:
            reason = "a later stream has the call"
            end = pb.End(handle=handle, reason=reason, failed=True, superseded=True)
            self.send(pb.TrunkAction(end=end))

    def finished(self, handle: int, failure: str | None) -> None:
        """Note that a handler returned, and tell the gateway if it still has the call."""
        if self._attached.pop(handle, None) is not None:
            self.send(
                pb.TrunkAction(end=pb.End(handle=handle, reason=failure or "", failed=failure is not None))
            )

    def _schedule_ack(self) -> None:
        due = self._acknowledger.due_at()
        if due is None or self._ack_timer is not None:
            return
        self._ack_timer = self._loop.call_at(due, self._send_ack)

    def _send_ack(self) -> None:
        self._ack_timer = None
        self._acknowledger.sent()
        self.send(pb.TrunkAction(ack=pb.Ack(items=self._acknowledger.items)))

    async def _write(self) -> None:
        try:
            while True:
                while (message := self._composer.take()) is not None:
                    await self._context.write(message)
                if self._is_closing:
                    return
                self._wake.clear()
                await self._wake.wait()
        except (grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError):
            return  # the reader sees the same end


class _TrunkCall:
    """One handle: the call's `CallStream`, and the path of its incoming items."""

    def __init__(self, session: TrunkSession, start: pb.Start) -> None:
        self.handle = start.handle
        self.format = start.format
        self._session = session
        self._call: Call | None = None
        self._begin = 0

    def serve(self, attached: Attached) -> None:
        self._call, self._begin = attached.call, attached.begin
        attached.handler.add_done_callback(self._handler_done)

    def consumed(self, count: int) -> None:
        """Note that the gateway has played so much of this handle's speech."""
        if self._call is not None:
            self._call.speech.consumed_to(self._begin + count)

    def send_audio(self, data: bytes) -> None:
        self._session.send_audio(self, data)

    def send_action(self, action: pb.CallAction) -> None:
        self._session.send(pb.TrunkAction(action=pb.HandleAction(handle=self.handle, action=action)))

    def supersede(self) -> None:
        self._session.superseded(self.handle)

    def receive_frame(self, frame: Frame) -> None:
        if self._call is not None:
            self._call.receive_frame(frame)

    def receive_event(self, event: pb.CallEvent) -> None:
        if self._call is not None and (known := event_from_wire(event)) is not None:
            self._call.receive_event(known)

    def end(self, reason: str) -> None:
        if self._call is not None:
            self._call.receive_end(reason)

    def receive_end(self, end: pb.End) -> None:
        if end.moved:
            self.lose("the call moved and did not come back")
        else:
            self.end(end.reason or "hangup")

    def lose(self, reason: str) -> None:
        """Note that the stream broke without ending the call."""
        if self._call is not None:
            self._call.detach(self, reason)

    def _handler_done(self, handler: asyncio.Task[str | None]) -> None:
        self._session.finished(self.handle, "stopped" if handler.cancelled() else handler.result())
        self.end("finished")  # for every stream of the call
