"""Ends of calls that this edge wants or has saved, until they are carried out.

Whichever task was to save an end, or to carry it out, may have died: here stands what is left to do.
"""

from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Generator
from contextlib import contextmanager

EndAgain = Callable[[], Coroutine[None, None, object]]
"""Saves the end and carries it out, as it was first asked for."""


class UnfinishedEnds:
    """Per call: the end that could not be saved, whether one was saved here, and how many act upon it now."""

    def __init__(self) -> None:
        self._wanted: dict[str, EndAgain] = {}
        self._saved: set[str] = set()
        self._busy: Counter[str] = Counter()

    @contextmanager
    def saving(self, call_id: str, again: EndAgain, expected: tuple[type[Exception], ...]) -> Generator[None]:
        """While the block saves the end. An error that is none of `expected` leaves it wanted."""
        self._wanted[call_id] = again
        try:
            with self._acting(call_id):
                yield
        except expected:
            self._wanted.pop(call_id, None)
            raise
        self._wanted.pop(call_id, None)
        self._saved.add(call_id)

    @contextmanager
    def carrying_out(self, call_id: str) -> Generator[None]:
        """While the block carries the end out."""
        self._saved.add(call_id)
        with self._acting(call_id):
            yield

    def wanted(self, call_id: str) -> EndAgain | None:
        """What saves the end that was to be saved, if nobody does so now."""
        return None if self._busy[call_id] else self._wanted.get(call_id)

    def is_left(self, call_id: str) -> bool:
        """Whether an end was saved here that nobody carries out now."""
        return call_id in self._saved and not self._busy[call_id]

    def keep_only(self, owned: Collection[str]) -> None:
        """Forget calls that are neither owned nor being ended here."""
        self._busy = +self._busy
        self._wanted = {k: again for k, again in self._wanted.items() if k in owned or k in self._busy}
        self._saved = {k for k in self._saved if k in owned or k in self._busy}

    @contextmanager
    def _acting(self, call_id: str) -> Generator[None]:
        self._busy[call_id] += 1
        try:
            yield
        finally:
            self._busy[call_id] -= 1
