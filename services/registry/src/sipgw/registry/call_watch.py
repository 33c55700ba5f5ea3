"""CallWatch: the changes that one watcher has not taken yet, bounded.

Overflow policy: a watch that lags by more than the bound expires, and its client lists again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from sipgw.api.registry.v1.registry_pb2 import CallSummary
from sipgw.registry.errors import WatchExpired

MAX_UNTAKEN: Final = 20_000


@dataclass(frozen=True, slots=True)
class CallChanged:
    """A call's newer state; `position` is its place in the stream, None when found by reading records."""

    partition: int
    position: str | None
    summary: CallSummary


class CallWatch:
    """Thread-safe: the registry adds, the watcher takes. `notify` is called in the adding thread."""

    def __init__(self, notify: Callable[[], None], max_untaken: int = MAX_UNTAKEN) -> None:
        self._notify = notify
        self._max_untaken = max_untaken
        self._lock = Lock()
        self._untaken: list[CallChanged] = []
        self._expired: str | None = None

    def add(self, changes: list[CallChanged]) -> None:
        """Add changes; the watch expires when it holds too many."""
        with self._lock:
            if len(self._untaken) + len(changes) > self._max_untaken:
                self._expired = "the watcher is too slow"
                self._untaken.clear()
            if self._expired is None:
                self._untaken += changes
        self._notify()

    def expire(self, why: str) -> None:
        """End the watch: earlier changes are void."""
        with self._lock:
            self._expired = self._expired or why
            self._untaken.clear()
        self._notify()

    def take(self) -> list[CallChanged]:
        """Take the changes added since the last take. Raises WatchExpired."""
        with self._lock:
            if self._expired is not None:
                raise WatchExpired(self._expired)
            taken, self._untaken = self._untaken, []
            return taken
