"""EventLog: media events of calls, kept until acknowledged, sent to the edge that owns the call."""

import time
from collections.abc import Iterable
from typing import Final, Protocol

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.calls.session import Session

_MOST_KEPT: Final = 100_000


class EventSink(Protocol):
    """The stream of an edge, as events are sent to it."""

    def send_event(self, event: pb.MediaEvent) -> None:
        """Queue the event for the edge."""
        ...


class EventLog:
    """The events of all calls. Ids rise within the relay's incarnation. Edges are keyed by their identity."""

    def __init__(self) -> None:
        self._last_id = 0
        self._kept: dict[int, pb.MediaEvent] = {}
        """Events without an acknowledgement, by id, in order."""
        self._sinks: dict[str, EventSink] = {}
        self.dropped = 0

    def attach(self, edge: str, sink: EventSink) -> None:
        """Send the edge's events to this stream; an older stream of the same edge gets nothing more."""
        self._sinks[edge] = sink

    def detach(self, edge: str, sink: EventSink) -> None:
        """Forget the stream, unless a newer one of the same edge has replaced it."""
        if self._sinks.get(edge) is sink:
            del self._sinks[edge]

    def is_attached(self, edge: str) -> bool:
        """Return whether the edge is connected."""
        return edge in self._sinks

    def tell(self, session: Session, **event: object) -> None:
        """Log one event of a call for the edge that owns it."""
        message = pb.MediaEvent(
            call_id=session.call_id,
            generation=session.fence[1],
            at_ms=time.time_ns() // 1_000_000,
            **event,  # pyright: ignore[reportArgumentType]
        )
        self._append(message, session.edge)

    def ack(self, event_ids: Iterable[int]) -> None:
        """Drop the events that an edge has acknowledged."""
        for event_id in event_ids:
            self._kept.pop(event_id, None)

    def replay(self, call_ids: Iterable[str], edge: str) -> None:
        """Send the edge the unacknowledged events of these calls, in order."""
        sink = self._sinks.get(edge)
        wanted = set(call_ids)
        if sink is None or not wanted:
            return
        for event in self._kept.values():
            if event.call_id in wanted:
                sink.send_event(event)

    def forget(self, before_ms: int) -> None:
        """Drop events older than this that no edge acknowledged: their calls ended long ago."""
        old = [event_id for event_id, event in self._kept.items() if event.at_ms < before_ms]
        for event_id in old:
            del self._kept[event_id]
        self.dropped += len(old)

    def _append(self, event: pb.MediaEvent, owner: str) -> None:
        """Keep an event under the next number, and send it if its owner is connected."""
        self._last_id += 1
        event.event_id = self._last_id
        self._kept[self._last_id] = event
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
            self.dropped += 1
        if (sink := self._sinks.get(owner)) is not None:
            sink.send_event(event)
