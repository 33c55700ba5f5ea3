"""TrunkSender: the writing half of a trunk: one task, fed by a `SendQueue`, whose writes never time out.

A message costs more than the frames in it, so audio goes out with every second tick: a frame waits for one
tick at most. Events go at once. Acks of the bot's messages, and room given back to its calls, go along.
"""

import asyncio
import contextlib
from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import PayloadU8
from sipgw.media_relay.streams.counters import BotCounters
from sipgw.media_relay.streams.flow_control import UNACKED_LIMIT_S, ReceiveCount, SendQueue
from sipgw.media_relay.streams.rpc import BidiCall

_MESSAGE_BYTES: Final = 512 * 1024
"""The contract allows 1 MiB."""
_BYTES_BESIDE_FRAME: Final = 16
"""Of a handle, a seq and a flag."""
_PACE_S: Final = 0.0095
"""The time between two messages with audio: two ticks, less the clock's tolerance."""


class TrunkSender:
    """Queues and writes. Everything but `run` and `drained` returns at once."""

    def __init__(self, counters: BotCounters) -> None:
        self._counters = counters
        self._queue: SendQueue[pb.TrunkEvent] = SendQueue()
        self._received = ReceiveCount()
        self._credits: dict[int, int] = {}
        """By wire handle: bytes consumed since Start."""
        self._is_ack_due = False
        self._ack_timer: asyncio.TimerHandle | None = None
        self._pace_timer: asyncio.TimerHandle | None = None
        self._written_at = 0.0
        self._dropped = 0
        """Batches of audio dropped that are counted already."""
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def is_overflowing(self) -> bool:
        """Whether so many events wait that the stream must be given up."""
        return self._queue.is_overflowing

    def keeps_up(self, now: float) -> bool:
        """Return whether the bot's acks come well before audio has to be dropped."""
        return self._queue.unacked_audio_s(now) < UNACKED_LIMIT_S / 2

    def stalled_s(self, now: float) -> float:
        """Return for how long the bot has acked nothing that it should have acked."""
        return self._queue.stalled_s(now)

    def send(self, event: pb.TrunkEvent) -> None:
        """Queue any item but audio. It is never dropped."""
        self._queue.add_event(event, self._loop.time(), event.ByteSize())
        self._wake_up()

    def send_frames(
        self,
        format_id: int,
        handles: npt.NDArray[np.uint32],
        seq: npt.NDArray[np.uint64],
        flags: npt.NDArray[np.uint8],
        payload: PayloadU8,
    ) -> None:
        """Send one frame for each handle, in as few batches as fit into messages."""
        step = max(1, _MESSAGE_BYTES // (payload.shape[1] + _BYTES_BESIDE_FRAME))
        for start in range(0, len(handles), step):
            part = slice(start, start + step)
            batch = _batch(format_id, handles[part], seq[part], flags[part], payload[part])
            size = len(batch.audio) + _BYTES_BESIDE_FRAME * len(batch.handles)
            self._queue.add_audio(pb.TrunkEvent(audio=batch), self._loop.time(), size)
        self._wake_in_time()

    def give_credit(self, handle: int, consumed_bytes: int) -> None:
        """Tell the bot, with the next message, how much of a call's speech was played or dropped."""
        self._credits[handle] = consumed_bytes
        self._wake_in_time()

    def received(self, *, items: int, acks: int) -> None:
        """Note a received message of this many items, some of them acks."""
        self._received.received(items=items, acks=acks, now=self._loop.time())
        due = self._received.due_at()
        if due is not None and self._ack_timer is None:
            self._ack_timer = self._loop.call_at(due, self._ack_is_due)

    def acked(self, items: int) -> None:
        """Note that the bot has received this many items in all."""
        self._queue.acked(items, self._loop.time())
        self._wake_in_time()

    async def run(self, call: BidiCall[pb.TrunkEvents, pb.TrunkActions]) -> None:
        """Write until the stream is over."""
        while True:
            message = self._next_message()
            if message is None:
                self._wake.clear()
                self._drained.set()
                await self._wake.wait()
                continue
            self._written_at = self._loop.time()
            if not await call.write(message):
                return  # the reader meets the same end

    async def drained(self, timeout_s: float) -> None:
        """Wait until everything that may go is written, or the time is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drained.wait(), timeout_s)

    def close(self) -> None:
        """Cancel the timers."""
        for timer in (self._ack_timer, self._pace_timer):
            if timer is not None:
                timer.cancel()

    def _next_message(self) -> pb.TrunkEvents | None:
        items = self._queue.take(self._loop.time(), max_bytes=_MESSAGE_BYTES)
        dropped, self._dropped = self._queue.dropped_audio - self._dropped, self._queue.dropped_audio
        self._counters.audio_dropped_unacked += dropped
        if self._credits or self._is_ack_due:
            items.append(pb.TrunkEvent(ack=self._ack()))
            self._queue.sent_unasked(1)
        return pb.TrunkEvents(items=items) if items else None

    def _ack(self) -> pb.Ack:
        ack = pb.Ack(items=self._received.items)
        self._received.sent()
        self._is_ack_due = False
        credits_due, self._credits = self._credits, {}
        for handle, consumed_bytes in credits_due.items():
            ack.credits.add(handle=handle, consumed_bytes=consumed_bytes)
        return ack

    def _ack_is_due(self) -> None:
        self._ack_timer = None
        self._is_ack_due = self._received.due_at() is not None
        self._wake_up()

    def _wake_in_time(self) -> None:
        """Write two ticks after the last message, or now if that is past."""
        self._drained.clear()
        due = self._written_at + _PACE_S
        if self._loop.time() >= due:
            self._wake_up()
        elif self._pace_timer is None:
            self._pace_timer = self._loop.call_at(due, self._is_time)

    def _is_time(self) -> None:
        self._pace_timer = None
        self._wake_up()

    def _wake_up(self) -> None:
        self._drained.clear()
        self._wake.set()


def _batch(
    format_id: int,
    handles: npt.NDArray[np.uint32],
    seq: npt.NDArray[np.uint64],
    flags: npt.NDArray[np.uint8],
    payload: PayloadU8,
) -> pb.AudioBatch:
    batch = pb.AudioBatch(format_id=format_id, frame_bytes=payload.shape[1], audio=payload.tobytes())
    batch.handles.extend(handles.tolist())
    batch.seq.extend(seq.tolist())
    if flags.any():
        batch.flags.extend(flags.tolist())
    return batch
