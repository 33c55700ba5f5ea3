"""TrunkSender: the writing half of a trunk: one task, fed by a `SendQueue`, whose writes never time out.

A message costs more than the frames in it: audio waits for other audio (`FrameGatherer`). Events go at once,
after the audio before them. Acks of the bot's messages, and room given back to its calls, go along.
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
from sipgw.media_relay.streams.frame_gatherer import BYTES_BESIDE_FRAME, EARLY_S, LONG_S, FrameGatherer
from sipgw.media_relay.streams.rpc import BidiCall

_MESSAGE_BYTES: Final = 512 * 1024
"""The contract allows 1 MiB."""


class TrunkSender:
    """Queues and writes. Everything but `run` and `drained` returns at once."""

    def __init__(self, counters: BotCounters) -> None:
        self._counters = counters
        self._queue: SendQueue[pb.TrunkEvent] = SendQueue()
        self._frames = FrameGatherer(_MESSAGE_BYTES)
        self._received = ReceiveCount()
        self._credits: dict[int, int] = {}
        """The bytes consumed since Start, by wire handle."""
        self._is_word_due = False
        """Whether an ack or credits go even without anything else."""
        self._ack_timer: asyncio.TimerHandle | None = None
        self._pace_timer: asyncio.TimerHandle | None = None
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
        """Return how long the bot has owed an ack without sending any."""
        return self._queue.stalled_s(now)

    def send(self, event: pb.TrunkEvent) -> None:
        """Queue any item but audio. It is never dropped."""
        now = self._loop.time()
        self._queue_frames(now)
        self._queue.add_event(event, now, event.ByteSize())
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
        self._frames.add(format_id, handles, seq, flags, payload)
        now = self._loop.time()
        if self._frames.is_due(now):
            self._write(now)
        else:
            self._write_in_time(self._frames.due_at() or now)

    def give_credit(self, handle: int, consumed_bytes: int) -> None:
        """Tell the bot, with the next message, how much of a call's speech was played or dropped."""
        self._credits[handle] = consumed_bytes
        if self._pace_timer is None:
            self._write_in_time(self._loop.time() + LONG_S)

    def received(self, *, items: int, acks: int) -> None:
        """Note a received message of this many items, some of them acks."""
        self._received.received(items=items, acks=acks, now=self._loop.time())
        due = self._received.due_at()
        if due is not None and self._ack_timer is None:
            self._ack_timer = self._loop.call_at(due, self._ack_may_be_due)

    def acked(self, items: int) -> None:
        """Note that the bot has received this many items in all."""
        self._queue.acked(items, self._loop.time())
        if not self._queue.is_empty:
            self._wake_up()

    async def run(self, call: BidiCall[pb.TrunkEvents, pb.TrunkActions]) -> None:
        """Write until the stream is over."""
        while True:
            self._wake.clear()
            while (message := self._next_message()) is not None:
                if not await call.write(message):
                    return  # the reader meets the same end
            if self._pace_timer is None:
                self._drained.set()
            await self._wake.wait()

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
        if not items and not self._is_word_due:
            return None
        self._is_word_due = False
        if self._credits or self._received.due_at() is not None:
            items.append(pb.TrunkEvent(ack=self._ack()))
            self._queue.sent_unasked(1)
        return pb.TrunkEvents(items=items) if items else None

    def _ack(self) -> pb.Ack:
        ack = pb.Ack(items=self._received.items)
        self._received.sent()
        credits_due, self._credits = self._credits, {}
        for handle, consumed_bytes in credits_due.items():
            ack.credits.add(handle=handle, consumed_bytes=consumed_bytes)
        return ack

    def _ack_may_be_due(self) -> None:
        """Send an ack by itself, unless it went along with something else meanwhile."""
        self._ack_timer = None
        due = self._received.due_at()
        if due is None:
            return
        if due > self._loop.time():
            self._ack_timer = self._loop.call_at(due, self._ack_may_be_due)
        else:
            self._is_word_due = True
            self._wake_up()

    def _write_in_time(self, due: float) -> None:
        """Write at that time, if no tick does it before."""
        self._drained.clear()
        if self._pace_timer is None or self._pace_timer.when() > due + EARLY_S:
            self._stop_pace_timer()
            self._pace_timer = self._loop.call_at(due + EARLY_S, self._is_time)

    def _is_time(self) -> None:
        self._write(self._loop.time())

    def _write(self, now: float) -> None:
        self._stop_pace_timer()
        self._queue_frames(now)
        self._is_word_due = bool(self._credits)
        self._wake_up()

    def _stop_pace_timer(self) -> None:
        if self._pace_timer is not None:
            self._pace_timer.cancel()
            self._pace_timer = None

    def _queue_frames(self, now: float) -> None:
        for batch in self._frames.take(now):
            size = len(batch.audio) + BYTES_BESIDE_FRAME * len(batch.handles)
            self._queue.add_audio(pb.TrunkEvent(audio=batch), now, size)

    def _wake_up(self) -> None:
        self._drained.clear()
        self._wake.set()
