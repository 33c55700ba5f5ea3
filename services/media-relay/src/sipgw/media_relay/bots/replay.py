"""Replayer: sends missed audio and keys to bots that are back; one task for all calls.

It sends faster than real time, a little at a time, so that neither the bot nor the other calls on its stream
fall behind. New audio of the caller waits behind the missed audio, so that the bot hears all in order.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sipgw.audio import PayloadU8
from sipgw.media_relay.bots.gap import CallGap
from sipgw.media_relay.bots.missed import MissedFrame
from sipgw.media_relay.streams.columns import Rows
from sipgw.media_relay.streams.counters import BotCounters
from sipgw.runtime.tasks import TaskGroupOwner

_ROUND_S: Final = 0.02
_MOST_MS, _LEAST_MS = 200, 40
"""Audio of one call in a round."""
_ALL_MS: Final = 40_000
"""Audio of all calls in a round, as long as each gets the least."""

Deliver: TypeAlias = Callable[[int, Rows, npt.NDArray[np.uint64], npt.NDArray[np.uint8], PayloadU8], None]
"""Sends frames of one format: its id, rows (of which one may come repeatedly), seqs, flags, payload."""


class Replayer:
    """`add` a call whose bot is back."""

    def __init__(self, deliver: Deliver, tasks: TaskGroupOwner, counters: BotCounters) -> None:
        self._deliver = deliver
        self._tasks = tasks
        self._counters = counters
        self._gaps: dict[CallGap, None] = {}
        self._running: asyncio.Task[None] | None = None

    def add(self, gap: CallGap) -> None:
        """Send the audio and keys that the call's bot has missed, beginning now."""
        self._gaps[gap] = None
        if self._running is None:
            self._running = self._tasks.spawn(self._run(), "replay")

    def finish(self, gap: CallGap) -> None:
        """Send all the rest at once: the call is over."""
        if gap in self._gaps:
            del self._gaps[gap]
            while gap.stream is not None and gap.missed:
                self._say([gap], each_ms=_ALL_MS)

    async def _run(self) -> None:
        try:
            while self._gaps:
                self._say_round()
                await asyncio.sleep(_ROUND_S)
        finally:
            self._running = None

    def _say_round(self) -> None:
        for gap in [gap for gap in self._gaps if gap.stream is None]:
            del self._gaps[gap]  # its bot is lost again
        keeping_up = [gap for gap in self._gaps if gap.stream is not None and gap.stream.keeps_up]
        self._say(keeping_up, each_ms=min(max(_ALL_MS // max(1, len(self._gaps)), _LEAST_MS), _MOST_MS))
        for gap in [gap for gap in keeping_up if not gap.missed]:
            del self._gaps[gap]
            gap.catch_up()

    def _say(self, gaps: Sequence[CallGap], *, each_ms: int) -> None:
        said: dict[int, list[tuple[CallGap, MissedFrame]]] = {}
        for gap in gaps:
            part = gap.missed.take(max(1, each_ms // gap.frame_ms))
            for event in part.events:
                if gap.stream is not None:
                    gap.stream.send_event(event)
            said.setdefault(gap.format_id, []).extend((gap, frame) for frame in part.frames)
        for format_id, frames in said.items():
            if frames:
                self._counters.frames_replayed += len(frames)
                self._deliver(format_id, *_columns_of(frames))


def _columns_of(
    frames: Sequence[tuple[CallGap, MissedFrame]],
) -> tuple[Rows, npt.NDArray[np.uint64], npt.NDArray[np.uint8], PayloadU8]:
    rows = np.array([gap.row for gap, _ in frames], dtype=np.intp)
    seq = np.array([frame.seq for _, frame in frames], dtype=np.uint64)
    flags = np.array([gap.flags_of(frame) for gap, frame in frames], dtype=np.uint8)
    payload = np.frombuffer(b"".join(frame.data for _, frame in frames), dtype=np.uint8)
    return rows, seq, flags, payload.reshape(len(frames), -1)
