"""Outbox: export each ended call: its call record as a log line, its root span to the collector.

Every replica runs one. The consumer group gives each end to one of them; another exports what a dead one
left. This is at-least-once: a repeat has the same ids. While the collector is away root spans are lost, call
records never.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from sipgw.calls import EndedCall, EndedOutbox
from sipgw.registry import metrics
from sipgw.registry.call_record import Numbers, call_record, cause_name, root_span, trace_of
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.telemetry.metrics import count
from sipgw.runtime.telemetry.traces import RootSpan, export_root_spans, is_tracing
from sipgw.store import PARTITIONS, StoreProtocolError, StoreUnavailable

TAKE_OVER_AFTER_MS: Final = 30_000
"""Longer than a live replica can take: the exporter gives a collector 10 s."""
_SWEEP_PERIOD_S: Final = 5.0
_GATHER_S: Final = 0.05
_AWAY_PAUSE_S: Final = 0.25

Emit = Callable[[dict[str, object]], None]
ExportRoots = Callable[[Sequence[RootSpan]], bool]


class Outbox:
    """`run` it as a task. `wake` reports ends at once; the sweep finds the others."""

    def __init__(
        self,
        outbox: EndedOutbox,
        *,
        numbers: Numbers = Numbers.FULL,
        take_over_after_ms: int = TAKE_OVER_AFTER_MS,
        sweep_period_s: float = _SWEEP_PERIOD_S,
        emit: Emit | None = None,
        export_roots: ExportRoots = export_root_spans,
    ) -> None:
        self._outbox = outbox
        self._numbers = numbers
        self._take_over_after_ms = take_over_after_ms
        self._sweep_period_s = sweep_period_s
        self._emit = emit or _log_line
        self._export_roots = export_roots
        self._woken: set[int] = set()
        self._wake = asyncio.Event()
        self._unacknowledged: dict[tuple[int, str], EndedCall] = {}
        self._is_closing = False
        self._has_ended = asyncio.Event()
        self._log = get_logger("sipgw.registry.outbox")

    def wake(self, partitions: Iterable[int]) -> None:
        """Note that calls of these partitions have ended."""
        self._woken.update(partitions)
        self._wake.set()

    async def run(self) -> None:
        """Export until `finish`, through Redis' outages."""
        sweep_at = time.monotonic()
        try:
            while not self._is_closing:
                try:
                    if time.monotonic() >= sweep_at:
                        await self._sweep()
                        sweep_at = time.monotonic() + self._sweep_period_s
                    await self._export_woken()
                except StoreUnavailable:
                    await asyncio.sleep(_AWAY_PAUSE_S)
                    continue
                except StoreProtocolError as error:
                    # refused by an ACL: other partitions may work
                    self._log.error("outbox_refused", error=str(error))
                    sweep_at = time.monotonic() + self._sweep_period_s
                    self._woken.clear()
                await self._wait_until(sweep_at)
        finally:
            self._has_ended.set()

    async def finish(self, timeout_s: float) -> None:
        """End `run` after the present batch, which would be exported twice otherwise."""
        self._is_closing = True
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_ended.wait()
        except TimeoutError:
            self._log.warning("outbox_left", ends=len(self._unacknowledged))

    async def _wait_until(self, at_s: float) -> None:
        try:
            async with asyncio.timeout(max(at_s - time.monotonic(), 0)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
        if not self._is_closing:
            await asyncio.sleep(_GATHER_S)  # let the ends of a busy gateway gather

    async def _sweep(self) -> None:
        """Take over entries left by others, and look into every partition."""
        left, waiting = await self._outbox.take_over(self._take_over_after_ms)
        metrics.OUTBOX_WAITING.set(waiting)
        if left:
            metrics.OUTBOX_TAKEN_OVER.inc(len(left))
            self._log.warning("ends_taken_over", ends=len(left))
        await self._export(left)
        self.wake(range(PARTITIONS))

    async def _export_woken(self) -> None:
        """Export all entries in the partitions reported by `wake`."""
        while self._woken and not self._is_closing:
            partitions = frozenset(self._woken)
            ends = await self._outbox.take(partitions)
            self._woken -= partitions
            self._woken.update(end.partition for end in ends)  # there may be more after a full answer
            await self._export(ends)

    async def _export(self, ends: Sequence[EndedCall]) -> None:
        """Export records, then root spans, then acknowledge.

        The acknowledgement is repeated after an outage.
        """
        fresh = {(end.partition, end.entry_id): end for end in ends}
        fresh = {place: end for place, end in fresh.items() if place not in self._unacknowledged}
        for end in fresh.values():
            self._emit(call_record(end, self._numbers))
            count(metrics.CALL_RECORDS.labels(cause_name(end.session.end_cause)), trace_of(end))
        self._unacknowledged.update(fresh)
        if fresh and is_tracing():
            roots = [root_span(end) for end in fresh.values()]
            if not await asyncio.to_thread(self._export_roots, roots):
                metrics.ROOT_SPANS_LOST.inc(len(roots))
                self._log.warning("root_spans_not_taken", spans=len(roots))
        if self._unacknowledged:
            await self._outbox.acknowledge(list(self._unacknowledged.values()))
            self._unacknowledged.clear()


def _log_line(record: dict[str, object]) -> None:
    _records.info("call_record", **record)


_records: Final = get_logger("sipgw.call_record")
