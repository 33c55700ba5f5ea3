"""Waiting for a condition of an object that reports its changes."""

import asyncio
from collections.abc import Callable

from sipgw.siptest.errors import CallTimedOut


class Changes:
    """Call `notify()` at each change; `until` returns when the condition holds."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Wake all that wait to check their condition."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for the condition. Raises CallTimedOut, whose text names `what`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    future = asyncio.get_running_loop().create_future()
                    self._waiting.add(future)
                    await future
        except TimeoutError as error:
            raise CallTimedOut(f"no {what} within {timeout_s:g} s") from error
