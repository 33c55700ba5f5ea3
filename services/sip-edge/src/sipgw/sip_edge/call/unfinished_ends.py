"""Remember the ends of calls until they are carried out.

A task that was to save an end, or to carry it out, may crash. Then this shows the work that it left.
"""

from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Generator
from contextlib import contextmanager

EndAgain = Callable[[], Coroutine[None, None, object]]
"""Saves an end again, as it was first asked for, and carries it out."""


class UnfinishedEnds:
    """The ends of calls that are not carried out yet.

    For each call: the end that could not be saved, whether an end was saved here, and how many tasks are
    carrying it out.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, EndAgain] = {}
        self._saved: set[str] = set()
        self._busy: Counter[str] = Counter()

    @contextmanager
    def saving(self, call_id: str, again: EndAgain, expected: tuple[type[Exception], ...]) -> Generator[None]:
        """Mark that the block saves the end.

        If it raises an error that is not `expected`, the end stays wanted.
        """
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
        """Mark that the block carries out the end."""
        self._saved.add(call_id)
        with self._acting(call_id):
            yield

    def wanted(self, call_id: str) -> EndAgain | None:
        """Give the function that saves the end again, if no task is saving it now."""
        return None if self._busy[call_id] else self._wanted.get(call_id)

    def is_left(self, call_id: str) -> bool:
        """Tell whether an end was saved here that no task is carrying out."""
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
