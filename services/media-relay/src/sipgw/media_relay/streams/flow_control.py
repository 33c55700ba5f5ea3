"""The sending end of a trunk: queued and un-acked items, and the choice of audio to drop. Pure.

gRPC's own flow control lets megabytes pile up before a write blocks. Therefore the other end acks, and this
end keeps at most 200 ms of audio un-acked. Events are never dropped, and the order is kept: audio that can't
go before an event is dropped.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

UNACKED_LIMIT_S: Final = 0.2
_LEAST_QUEUED_S: Final = 0.02
"""The newest frame is kept, whatever is un-acked."""
EVENT_LIMIT: Final = 20_000

Item = TypeVar("Item")


@dataclass(slots=True)
class _Queued(Generic[Item]):
    item: Item
    since: float
    is_audio: bool
    size: int


@dataclass(frozen=True, slots=True)
class _Sent:
    items_to: int
    """The total number of items once this message was sent."""
    at: float
    has_audio: bool


class SendQueue(Generic[Item]):
    """Items wait here. `take` returns those that may be written now and counts them as sent."""

    def __init__(self) -> None:
        self._queued: deque[_Queued[Item]] = deque()
        self._events_queued = 0
        self._in_flight: deque[_Sent] = deque()
        self._items_sent = 0
        self._items_acked = 0
        self._progress_at = 0.0
        self.dropped_audio = 0

    @property
    def is_overflowing(self) -> bool:
        """Whether so many events wait that the stream must be given up."""
        return self._events_queued > EVENT_LIMIT

    @property
    def is_empty(self) -> bool:
        """Whether nothing is queued."""
        return not self._queued

    def add_event(self, item: Item, now: float, size: int) -> None:
        """Queue an event. Events are never dropped."""
        self._queued.append(_Queued(item, now, is_audio=False, size=size))
        self._events_queued += 1

    def add_audio(self, item: Item, now: float, size: int) -> None:
        """Queue audio; drop the oldest that exceeds the limit."""
        self._queued.append(_Queued(item, now, is_audio=True, size=size))
        self._drop_stale(now)

    def take(self, now: float, *, max_bytes: int) -> list[Item]:
        """Return items of at most `max_bytes` that may go now, in order; at least one if any may."""
        self._drop_stale(now)
        items: list[Item] = []
        has_audio = False
        is_open = self.unacked_audio_s(now) < UNACKED_LIMIT_S
        size = 0
        while self._queued and (not items or size + self._queued[0].size <= max_bytes):
            if not is_open and not self._events_queued:
                break
            entry = self._queued.popleft()
            if not entry.is_audio:
                self._events_queued -= 1
            elif not is_open:
                self.dropped_audio += 1
                continue
            has_audio = has_audio or entry.is_audio
            size += entry.size
            items.append(entry.item)
        if items:
            self._sent(len(items), now, has_audio=has_audio)
        return items

    def sent_unasked(self, count: int) -> None:
        """Count acks that were sent along: the other end counts them but does not answer them."""
        self._items_sent += count

    def acked(self, items: int, now: float) -> None:
        """Note that the other end has received this many items in all."""
        if items > self._items_acked:
            self._items_acked = items
            self._progress_at = now
        while self._in_flight and self._in_flight[0].items_to <= items:
            self._in_flight.popleft()

    def stalled_s(self, now: float) -> float:
        """Return how long items have been un-acked without any ack; 0 when all are acked."""
        if not self._in_flight:
            return 0.0
        return now - max(self._in_flight[0].at, self._progress_at)

    def unacked_audio_s(self, now: float) -> float:
        """Return the age of the oldest audio that is not acked."""
        for message in self._in_flight:
            if message.has_audio:
                return now - message.at
        return 0.0

    def _sent(self, count: int, now: float, *, has_audio: bool) -> None:
        self._items_sent += count
        self._in_flight.append(_Sent(self._items_sent, now, has_audio))

    def _drop_stale(self, now: float) -> None:
        allowed = max(_LEAST_QUEUED_S, UNACKED_LIMIT_S - self.unacked_audio_s(now))
        oldest = next((entry for entry in self._queued if entry.is_audio), None)
        if oldest is None or now - oldest.since <= allowed:
            return
        kept: deque[_Queued[Item]] = deque()
        for entry in self._queued:
            if entry.is_audio and now - entry.since > allowed:
                self.dropped_audio += 1
            else:
                kept.append(entry)
        self._queued = kept


class ReceiveCount:
    """The receiving end: counts items and says when the ack is due: at half of the contract's limit."""

    ACK_AFTER_S: Final = 0.05

    def __init__(self) -> None:
        self.items = 0
        self._owed_since: float | None = None

    def received(self, *, items: int, acks: int, now: float) -> None:
        """Count a received message of this many items, some of them acks."""
        self.items += items
        if items > acks and self._owed_since is None:
            self._owed_since = now

    def due_at(self) -> float | None:
        """Return when the ack is due; None when none is."""
        return None if self._owed_since is None else self._owed_since + self.ACK_AFTER_S

    def sent(self) -> None:
        """Note that the ack was sent."""
        self._owed_since = None
