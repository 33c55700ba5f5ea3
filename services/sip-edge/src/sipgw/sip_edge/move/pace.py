"""Limit the number of tasks that begin in a second; others wait for their turn."""

import asyncio


class Pace:
    """Gives turns in the order of asking."""

    def __init__(self, per_s: float) -> None:
        self._interval_s = 1 / per_s
        self._next_s = 0.0

    async def turn(self) -> None:
        """Wait for a turn."""
        now_s = asyncio.get_running_loop().time()
        at_s = max(now_s, self._next_s)
        self._next_s = at_s + self._interval_s
        await asyncio.sleep(at_s - now_s)
