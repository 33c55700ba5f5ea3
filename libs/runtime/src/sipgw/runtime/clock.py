"""Time as an argument: code that needs the time takes a `Clock`, so that tests can pass a virtual one."""

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time for intervals, unix time for records."""

    def monotonic(self) -> float:
        """Seconds; only differences mean anything."""
        ...

    def unix_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Return the monotonic clock in seconds."""
        return time.monotonic()

    def unix_ms(self) -> int:
        """Return the wall clock in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000
