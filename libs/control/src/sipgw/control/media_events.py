"""Media events from a relay to the edge: in order for each call, each handled once, then acknowledged.

The relay keeps an event until it is acknowledged and sends it again on a new stream; the id then tells
whether it is handled, or being handled, already. A failed handler is tried again; after the last try the
event stays unacknowledged.
"""

import asyncio
import inspect
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence

from sipgw.api.relay.v1.control_pb2 import MediaEvent
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.telemetry.logs import get_logger

EventHandler = Callable[[MediaEvent], Awaitable[None] | None]

_MAX_QUEUED = 10_000
_REMEMBERED = 10_000
_RETRY_PAUSES_S = (0.5, 1.0, 2.0, 4.0)
_log = get_logger("sipgw.control")


class EventInbox:
    """Calls `handle` for each event: different calls in parallel, the events of one call in sequence."""

    def __init__(
        self,
        handle: EventHandler,
        on_handled: Callable[[], None],
        *,
        retry_pauses_s: Sequence[float] = _RETRY_PAUSES_S,
    ) -> None:
        self._handle = handle
        self._on_handled = on_handled
        self._retry_pauses_s = retry_pauses_s
        self._queues: dict[str, deque[MediaEvent]] = {}
        self._under_way: set[int] = set()
        self._handled: OrderedDict[int, None] = OrderedDict()
        self._acks: list[int] = []
        self._tasks = TaskGroupOwner("media-events")

    def receive(self, event: MediaEvent) -> None:
        """Take in `event`.

        A known one is not handled again; above the limit it is left for the relay to repeat.
        """
        if event.event_id in self._handled:
            self._ack(event.event_id)
            return
        if event.event_id in self._under_way:
            return
        if len(self._under_way) >= _MAX_QUEUED:
            _log.error(
                "media_event_dropped", call_id=event.call_id, event_id=event.event_id, queued=_MAX_QUEUED
            )
            return
        self._under_way.add(event.event_id)
        queue = self._queues.get(event.call_id)
        if queue is not None:
            queue.append(event)
            return
        self._queues[event.call_id] = deque([event])
        self._tasks.spawn(self._drain(event.call_id), event.call_id)

    def take_acks(self) -> list[int]:
        """Take the ids to acknowledge now."""
        acks, self._acks = self._acks, []
        return acks

    def forget(self) -> None:
        """Forget all ids, since another incarnation of the relay counts its events from the start."""
        self._handled.clear()
        self._acks.clear()

    async def aclose(self) -> None:
        """Stop handling; events in progress stay unacknowledged."""
        await self._tasks.aclose()

    async def _drain(self, call_id: str) -> None:
        queue = self._queues[call_id]
        try:
            while queue:
                await self._handle_one(queue[0])
                queue.popleft()
        finally:
            del self._queues[call_id]
            self._under_way.difference_update(event.event_id for event in queue)

    async def _handle_one(self, event: MediaEvent) -> None:
        kind = event.WhichOneof("event")
        for pause_s in (*self._retry_pauses_s, None):
            try:
                done = self._handle(event)
                if inspect.isawaitable(done):
                    await done
            except Exception:
                _log.exception("media_event_failed", call_id=event.call_id, kind=kind, retry_in_s=pause_s)
                if pause_s is not None:
                    await asyncio.sleep(pause_s)
                continue
            self._handled[event.event_id] = None
            if len(self._handled) > _REMEMBERED:
                self._handled.popitem(last=False)
            self._ack(event.event_id)
            break
        self._under_way.discard(event.event_id)

    def _ack(self, event_id: int) -> None:
        self._acks.append(event_id)
        self._on_handled()
