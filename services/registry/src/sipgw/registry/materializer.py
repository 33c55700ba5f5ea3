"""Materializer: keep a CallRegistry equal to Redis: read every partition, then follow the streams.

One task does both, in turn, so that a reading and a stream entry never overtake one another. Every partition
is read again each minute, so that records that expired without an entry leave no trace.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from sipgw.calls import CallStream, Transition, is_ended
from sipgw.registry import metrics
from sipgw.registry.call_registry import CallRegistry
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.store import PARTITIONS, Store, StoreUnavailable

REREAD_PERIOD_S: Final = 60.0
_MAX_BLOCK_MS: Final = 500
_PAUSE_S: Final = 0.01
"""The pause after each batch, so that a busy gateway wakes us a hundred times a second, not at each save."""
_AWAY_PAUSE_S: Final = 0.25
_PARTITIONS_AT_ONCE: Final = 4


class Materializer:
    """`run` it as a task, one per registry."""

    def __init__(
        self,
        store: Store,
        registry: CallRegistry,
        *,
        on_ended: Callable[[set[int]], None] | None = None,
        reread_period_s: float = REREAD_PERIOD_S,
    ) -> None:
        """Take `on_ended`, which is called with the partitions in which calls have ended."""
        self._store = store
        self._stream = CallStream(store)
        self._registry = registry
        self._on_ended = on_ended
        self._reread_step_s = reread_period_s / PARTITIONS
        self._log = get_logger("sipgw.registry.materializer")

    async def run(self) -> None:
        """Follow Redis for ever, through outages and data losses."""
        while True:
            try:
                await self._read_all()
                await self._follow()
            except StoreUnavailable:
                await asyncio.sleep(_AWAY_PAUSE_S)

    async def _read_all(self) -> None:
        """Read every partition, unless only the connection was lost.

        In the same epoch the positions still hold.
        """
        epoch = self._store.epoch
        if epoch is None:
            raise StoreUnavailable("Redis has not answered yet")
        if epoch == self._registry.epoch and self._registry.is_materialised:
            return
        if epoch != self._registry.epoch:
            self._registry.begin_epoch(epoch)
        await self._reread(range(PARTITIONS))
        self._log.info("calls_materialised", epoch=epoch, live=self._registry.count().live)

    async def _follow(self) -> None:
        """Follow the streams until the epoch changes."""
        next_partition, reread_at = 0, time.monotonic()
        has_grace = self._registry.is_in_grace
        while self._store.epoch == self._registry.epoch:
            block_ms = min(max(int((reread_at - time.monotonic()) * 1000), 1), _MAX_BLOCK_MS)
            transitions = await self._stream.follow(self._registry.positions(), block_ms=block_ms)
            if transitions:
                metrics.STREAM_ENTRIES.inc(len(transitions))
                self._registry.apply(transitions)
                self._tell_ended(transitions)
                await asyncio.sleep(_PAUSE_S)
            if has_grace and not self._registry.is_in_grace:
                has_grace = False
                await self._reread(range(PARTITIONS))
            elif (late_s := time.monotonic() - reread_at) >= 0:
                due = min(int(late_s / self._reread_step_s) + 1, PARTITIONS)
                await self._reread([(next_partition + step) % PARTITIONS for step in range(due)])
                self._registry.forget_tombstones()
                next_partition = (next_partition + due) % PARTITIONS
                reread_at = time.monotonic() + self._reread_step_s

    def _tell_ended(self, transitions: Sequence[Transition]) -> None:
        ended = {transition.partition for transition in transitions if is_ended(transition.session)}
        if ended and self._on_ended is not None:
            self._on_ended(ended)

    async def _reread(self, partitions: Sequence[int]) -> None:
        """Read a few partitions at a time: they share one connection, where each command has a second."""
        for first in range(0, len(partitions), _PARTITIONS_AT_ONCE):
            some = partitions[first : first + _PARTITIONS_AT_ONCE]
            for records in await asyncio.gather(*map(self._stream.read_partition, some)):
                self._registry.replace_partition(records)
