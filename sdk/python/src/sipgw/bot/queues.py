"""A bounded queue for one reader, with a policy for a slow reader."""

import asyncio
from collections import deque
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Overflow(Enum):
    """The item that a full queue drops to take one more."""

    DROP_OLDEST = "drop oldest"
    DROP_NEWEST = "drop newest"


class BoundedQueue(Generic[T]):
    """A queue whose writers never block. Iterate it: items in order until `close`, then the rest."""

    def __init__(self, limit: int, overflow: Overflow) -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._overflow = overflow
        self._is_closed = False
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item, by policy when full. Nothing is added to a closed queue."""
        if self._is_closed:
            return
        if len(self._items) >= self._limit:
            self.dropped += 1
            if self._overflow is Overflow.DROP_NEWEST:
                return
            self._items.popleft()
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        """Close the queue; readers get the rest and then the end."""
        self._is_closed = True
        while self._waiters:
            self._wake()

    def __aiter__(self) -> "BoundedQueue[T]":
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._is_closed:
                raise StopAsyncIteration
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled() and self._items:
                    self._wake()  # pass our turn to the next reader
                raise
        return self._items.popleft()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
