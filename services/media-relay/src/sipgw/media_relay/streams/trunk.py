"""TrunkStream: one Trunk stream to one bot pod: the calls on it, and the bot's messages.

A wire handle is `uses << 16 | row`: the row finds everything by array look-up, and `uses`, counted per row of
this stream, keeps a handle from being used twice.
"""

import asyncio
from typing import Final

import grpc
import numpy as np
import numpy.typing as npt

from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.audio import PayloadU8
from sipgw.media_relay.errors import BotUnavailable, TrunkUnimplemented
from sipgw.media_relay.streams.bot_call import BotCall
from sipgw.media_relay.streams.columns import MAX_ROWS, ROW_MASK, Rows, listed
from sipgw.media_relay.streams.parts import StreamParts
from sipgw.media_relay.streams.rpc import BidiCall
from sipgw.media_relay.streams.stream import AttachedCall, Broken, Finished, StreamEnd, Superseded
from sipgw.media_relay.streams.trunk_sender import TrunkSender
from sipgw.media_relay.streams.wire import FEATURES, REPLAY, RESUME, attach_epoch
from sipgw.runtime.telemetry.logs import get_logger

_log = get_logger("sipgw.media_relay.bots.trunk")

HELLO_TIMEOUT_S: Final = 3.0
PROGRESS_TIMEOUT_S: Final = 5.0
"""A bot that has acked nothing for this long is considered gone."""
IDLE_CLOSE_S: Final = 60.0
_WATCH_S: Final = 0.5
_CLOSE_TIMEOUT_S: Final = 1.0
_SPOKEN_AT_ONCE: Final = 16384
_MAX_USES: Final = 0xFFFF
_Rpc = BidiCall[pb.TrunkEvents, pb.TrunkActions]


class TrunkStream:
    """A stream that many calls share. Call `open` first; `closed` is set when it is over."""

    def __init__(self, number: int, address: str, parts: StreamParts, *, instance: str) -> None:
        self.number = number
        self.address = address
        self.max_calls = 0
        self.closed = asyncio.Event()
        self._columns = parts.columns
        self._formats = parts.formats
        self._sink = parts.sink
        self._counters = parts.counters
        self._instance = instance
        self._calls: dict[int, AttachedCall] = {}
        """The calls on this trunk, by row."""
        self._wire_handle = np.zeros(MAX_ROWS, dtype=np.uint32)
        """0: not attached here."""
        self._uses = np.zeros(MAX_ROWS, dtype=np.uint16)
        self._sender = TrunkSender(parts.counters)
        self._consumed_before: dict[int, int] = {}
        """The bytes consumed before Start, by row."""
        self._hello: asyncio.Future[pb.Hello] = asyncio.get_running_loop().create_future()
        self._call: BidiCall[pb.TrunkEvents, pb.TrunkActions] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()
        self._idle_since = self._loop.time()
        self._is_closing = False
        self._end_reason = ""
        self._spoken_bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def is_open(self) -> bool:
        """Whether calls can be attached."""
        return self._hello.done() and not self._is_closing and not self.closed.is_set()

    @property
    def is_full(self) -> bool:
        """Whether the bot has all the calls that it takes on this trunk."""
        return bool(self.max_calls) and len(self._calls) >= self.max_calls

    async def open(self, channel: grpc.aio.Channel) -> None:
        """Exchange Hello. Raises TrunkUnimplemented, or BotUnavailable."""
        stub = voicebot_pb2_grpc.VoiceBotStub(channel)
        self._call = call = _Rpc(stub.Trunk(metadata=(("sipgw-features", ",".join(FEATURES)),)))
        hello = pb.Hello(formats=self._formats.all_wire(), features=FEATURES, instance=self._instance)
        self._sender.send(pb.TrunkEvent(hello=hello))
        self._tasks = [
            self._loop.create_task(self._read(call), name=f"trunk-reader/{self.address}"),
            self._loop.create_task(self._sender.run(call), name=f"trunk-writer/{self.address}"),
            self._loop.create_task(self._watch(call), name=f"trunk-watch/{self.address}"),
        ]
        try:
            opened = {self._hello, call.status}
            await asyncio.wait(opened, timeout=HELLO_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            call.cancel()
            self._closed("cancelled")
            raise
        if self._hello.done():
            self.max_calls = self._hello.result().max_calls
            self._counters.trunks_opened += 1
            _log.info("trunk_opened", bot=self.address, bot_instance=self._hello.result().instance)
            return
        if not call.status.done():
            await self.aclose("no Hello")
            raise BotUnavailable(f"bot at {self.address} sent no Hello within {HELLO_TIMEOUT_S:g} s")
        status = call.status.result()
        await self.aclose("never opened")
        if status.code is grpc.StatusCode.UNIMPLEMENTED:
            raise TrunkUnimplemented(f"bot at {self.address} has no Trunk")
        raise BotUnavailable(f"bot at {self.address}: {status}")

    def attach(self, attached: AttachedCall, call: BotCall, config: pb.Config, attaches: int) -> "TrunkCall":
        """Start a call. Raises BotUnavailable when this stream can't take it."""
        row = attached.row
        if not self.is_open or self.is_full or self._uses[row] == _MAX_USES:
            raise BotUnavailable(f"the trunk to {self.address} is closed or full")
        self._uses[row] += 1
        handle = int(self._uses[row]) << 16 | row
        self._wire_handle[row] = handle
        self._calls[row] = attached
        self._consumed_before[row] = int(self._columns.consumed[row])
        self._columns.stream[row] = self.number
        start = pb.Start(
            handle=handle,
            call_id=call.call_id,
            epoch=attach_epoch(call.epoch, attaches),
            format=self._formats.wire(call.bot_format),
            config=config,
            traceparent=call.traceparent,
            credit_bytes=max(0, self._columns.room(row)),
        )
        self._sender.send(pb.TrunkEvent(start=start))
        return TrunkCall(self, row, handle)

    def send_frames(
        self,
        format_id: int,
        rows: Rows,
        seq: npt.NDArray[np.uint64],
        flags: npt.NDArray[np.uint8],
        payload: PayloadU8,
    ) -> None:
        """Send one frame for each of these rows, all attached here."""
        self._sender.send_frames(format_id, self._wire_handle[rows], seq, flags, payload)

    def send_event(self, handle: int, event: pb.CallEvent) -> None:
        """Send an event of a call; see CallStream."""
        self._sender.send(pb.TrunkEvent(event=pb.HandleEvent(handle=handle, event=event)))

    def give_credit(self, row: int) -> None:
        """Tell the bot how much of its speech was played or dropped by now."""
        if row in self._calls:
            consumed = int(self._columns.consumed[row])
            self._columns.reported[row] = consumed
            self._sender.give_credit(int(self._wire_handle[row]), consumed - self._consumed_before[row])

    def declares(self, feature: str) -> bool:
        """Return whether the bot declared this feature."""
        return self._hello.done() and feature in self._hello.result().features

    @property
    def keeps_up(self) -> bool:
        """Whether the bot acks what it gets in time; see CallStream."""
        return self._sender.keeps_up(self._loop.time())

    def detach(self, row: int, handle: int, reason: str, *, moved: bool = False) -> None:
        """End the call on this stream: it is over, or goes on elsewhere.

        No harm if the bot has ended it already.
        """
        moved = moved and self.declares(RESUME)
        if moved:
            self.give_credit(row)  # the exact number of bytes heard: the bot repeats the rest
        if self._forget(row, handle) is not None:
            self._sender.send(pb.TrunkEvent(end=pb.End(handle=handle, reason=reason, moved=moved)))

    async def aclose(self, reason: str) -> None:
        """Half-close, then cancel; the calls on the stream are told."""
        if self._call is not None and not self.closed.is_set():
            self._end_reason = self._end_reason or reason
            await self._finish(self._call)
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._closed(reason)

    # -- reading

    async def _read(self, call: BidiCall[pb.TrunkEvents, pb.TrunkActions]) -> None:
        while (message := await call.read()) is not None:
            acks = 0
            for item in message.items:
                acks += self._receive(item)
                if self._spoken_bytes > _SPOKEN_AT_ONCE:
                    self._spoken_bytes = 0
                    await asyncio.sleep(0)  # a long speech is converted between ticks, not in one
            self._sender.received(items=len(message.items), acks=acks)
        status = await call.status
        self._closed(self._end_reason or f"trunk ended, {status}")

    def _receive(self, item: pb.TrunkAction) -> int:
        match item.WhichOneof("item"):
            case "audio":
                self._receive_audio(item.audio)
            case "action":
                self._receive_action(item.action)
            case "end":
                end = _end_of(item.end)
                if (attached := self._forget(item.end.handle & 0xFFFF, item.end.handle)) is not None:
                    attached.stream_ended(end)
            case "ack":
                self._sender.acked(item.ack.items)
                return 1
            case "hello":
                if not self._hello.done():
                    self._hello.set_result(item.hello)
            case _:
                pass  # a newer bot
        return 0

    def _receive_audio(self, batch: pb.AudioBatch) -> None:
        count, size = len(batch.handles), batch.frame_bytes
        if count * size != len(batch.audio) or not size:
            self._counters.audio_malformed += 1
            return
        handles = np.fromiter(batch.handles, dtype=np.uint32, count=count)
        rows = (handles & ROW_MASK).astype(np.intp)
        frames = np.frombuffer(batch.audio, dtype=np.uint8).reshape(count, size)
        known = (self._wire_handle[rows] == handles) & (
            handles != 0
        )  # 0 marks rows that are not on this stream
        if not known.all():
            rows, frames = rows[known], frames[known]
            self._counters.audio_unknown_handle += count - len(rows)
            if not len(rows):
                return
        audio_format = self._formats.format_of(batch.format_id)
        if (
            audio_format is not None
            and audio_format.frame_bytes == size
            and bool((self._columns.format_id[rows] == batch.format_id).all())
            and self._columns.are_distinct(rows)
        ):
            self._sink.receive_frames(rows, frames, batch.format_id)
            return
        for row, frame in zip(listed(rows), frames, strict=True):  # a burst: long frames, or many of one call
            self._sink.receive_speech(row, frame.data)
            self._spoken_bytes += size

    def _receive_action(self, item: pb.HandleAction) -> None:
        row = item.handle & 0xFFFF
        attached = self._calls.get(row)
        if attached is None or self._wire_handle[row] != item.handle:
            return
        if item.action.WhichOneof("payload") == "accept":
            attached.became_ready(confirmed=True)
        else:
            attached.receive_action(item.action)

    # -- ending

    async def _watch(self, call: BidiCall[pb.TrunkEvents, pb.TrunkActions]) -> None:
        """Give up a stream whose other end makes no progress: it acks nothing. There are no deadlines."""
        while not self.closed.is_set():
            await asyncio.sleep(_WATCH_S)
            now = self._loop.time()
            if self._calls:
                self._idle_since = now
            stalled_s = self._sender.stalled_s(now)
            if stalled_s > PROGRESS_TIMEOUT_S or self._sender.is_overflowing:
                self._counters.trunks_stalled += 1
                self._end_reason = f"the bot at {self.address} has acknowledged nothing for {stalled_s:.1f} s"
                call.cancel()
                return
            if now - self._idle_since > IDLE_CLOSE_S:
                self._end_reason = "idle"
                await self._finish(call)
                return

    async def _finish(self, call: BidiCall[pb.TrunkEvents, pb.TrunkActions]) -> None:
        """Write the queued items, half-close, and give the bot a moment to end the stream."""
        self._is_closing = True
        if not call.status.done():
            await self._sender.drained(_CLOSE_TIMEOUT_S)
            await call.done_writing()
            await asyncio.wait({call.status}, timeout=_CLOSE_TIMEOUT_S)
            call.cancel()

    def _forget(self, row: int, handle: int) -> AttachedCall | None:
        if self._wire_handle[row] != handle:
            return None
        self._wire_handle[row] = 0
        self._consumed_before.pop(row, None)
        if self._columns.stream[row] == self.number:
            self._columns.stream[row] = -1
        return self._calls.pop(row, None)

    def _closed(self, reason: str) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        self._sender.close()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if self._hello.done():
            _log.info("trunk_closed", bot=self.address, reason=reason, calls=len(self._calls))
        for row in list(self._calls):
            attached = self._forget(row, int(self._wire_handle[row]))
            if attached is not None:
                attached.stream_ended(Broken(reason))


def _end_of(end: pb.End) -> StreamEnd:
    if end.superseded:
        return Superseded()
    return Broken(end.reason or "the bot failed") if end.failed else Finished()


class TrunkCall:
    """The `CallStream` of one call on a trunk."""

    def __init__(self, trunk: TrunkStream, row: int, handle: int) -> None:
        self._trunk = trunk
        self._row = row
        self._handle = handle

    def send_event(self, event: pb.CallEvent) -> None:
        """Send an event; see CallStream."""
        self._trunk.send_event(self._handle, event)

    @property
    def can_resume(self) -> bool:
        """Whether the bot declared `resume`."""
        return self._trunk.declares(RESUME)

    @property
    def wants_replay(self) -> bool:
        """Whether the bot declared `replay`."""
        return self._trunk.declares(REPLAY)

    @property
    def keeps_up(self) -> bool:
        """Whether the bot acks what it gets in time; see CallStream."""
        return self._trunk.keeps_up

    def close(self, reason: str, *, moved: bool = False) -> None:
        """End the call on this stream; see CallStream."""
        self._trunk.detach(self._row, self._handle, reason, moved=moved)

    def give_credit(self) -> None:
        """Tell the bot of its consumed speech; see CallStream."""
        self._trunk.give_credit(self._row)
