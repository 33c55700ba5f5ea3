"""EventLog: media events, numbered, kept until acked, sent to the stream of the edge that owns the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipgw.api.relay.v1 import control_pb2 as pb

_MOST_KEPT: Final = 100_000


class EventSink(Protocol):
    """An edge's stream."""

    def send_event(self, event: pb.MediaEvent) -> None: ...


class EventLog:
    """Ids rise within the relay's incarnation. Edges are known by the text of their identity."""

    def __init__(self) -> None:
        self._last_id = 0
        self._kept: dict[int, pb.MediaEvent] = {}  # in order of their ids
        self._sinks: dict[str, EventSink] = {}
        self.dropped = 0

    def attach(self, edge: str, sink: EventSink) -> None:
        """The edge's stream is open; an older one of the same edge gets nothing more."""
        self._sinks[edge] = sink

    def detach(self, edge: str, sink: EventSink) -> None:
        if self._sinks.get(edge) is sink:
            del self._sinks[edge]

    def is_attached(self, edge: str) -> bool:
        return edge in self._sinks

    def append(self, event: pb.MediaEvent, owner: str) -> None:
        """Number and keep it, and send it if its owner is here."""
        self._last_id += 1
        event.event_id = self._last_id
        self._kept[self._last_id] = event
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
            self.dropped += 1
        if (sink := self._sinks.get(owner)) is not None:
            sink.send_event(event)

    def ack(self, event_ids: Iterable[int]) -> None:
        for event_id in event_ids:
            self._kept.pop(event_id, None)

    def replay(self, call_ids: Iterable[str], edge: str) -> None:
        """Send what these calls' events are not acked yet, in order."""
        sink = self._sinks.get(edge)
        wanted = set(call_ids)
        if sink is None or not wanted:
            return
        for event in self._kept.values():
            if event.call_id in wanted:
                sink.send_event(event)

    def forget(self, before_ms: int) -> None:
        """Drop what nobody acked and is older: its call is long over for everybody."""
        old = [event_id for event_id, event in self._kept.items() if event.at_ms < before_ms]
        for event_id in old:
            del self._kept[event_id]
        self.dropped += len(old)
