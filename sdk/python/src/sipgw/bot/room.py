"""Playout room of one call: how many bytes of speech may be on their way to the caller at once."""

import asyncio

from sipgw.bot.errors import CallEnded


class PlayoutRoom:
    """The credit of a call on a trunk. Counts bytes in the gateway's format since the call's start.

    `limit` None: the gateway counts nothing, so there is always room.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._sent = 0
        self._consumed = 0
        self._clears = 0
        self._is_closed = False
        self._changed: asyncio.Future[None] | None = None

    @property
    def free(self) -> int | None:
        """Bytes that may be sent now; None means any number."""
        return None if self._limit is None else max(0, self._limit - (self._sent - self._consumed))

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def consumed(self) -> int:
        return self._consumed

    @property
    def clears(self) -> int:
        """How often speech was cleared; a speaker that sees it change stops."""
        return self._clears

    async def wait(self) -> int | None:
        """Wait for room or a clear; return `free`. Raises CallEnded when the call is over."""
        clears = self._clears
        while self.free == 0 and clears == self._clears and not self._is_closed:
            if self._changed is None:
                self._changed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._changed)
        if self._is_closed:
            raise CallEnded("the call is over")
        return self.free

    def take(self, count: int) -> None:
        """Note that so many bytes were sent."""
        self._sent += count

    def consumed_to(self, total: int) -> None:
        """Note that the gateway has played or dropped so many bytes, also those of an earlier stream."""
        if total > self._consumed:
            self._consumed = min(total, self._sent)
            self._notify()

    def rewind(self, position: int) -> None:
        """Send again all speech sent beyond `position`."""
        self._sent = position

    def limit_to(self, limit: int | None) -> None:
        """Set the gateway's limit; None for no limit."""
        self._limit = limit
        self._notify()

    def clear(self) -> None:
        """Make all speakers that wait for room give up."""
        self._clears += 1
        self._notify()

    def close(self) -> None:
        """End all waiting: the call is over."""
        self._is_closed = True
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)
