"""GcPauses: the CPU of Python's garbage collections. Every thread waits for them, ticks included."""

import gc
import time


class GcPauses:
    """Notes collections between `start` and `stop`."""

    def __init__(self) -> None:
        self._begun_s = 0.0
        self._longest_s = 0.0

    def start(self) -> None:
        """Watch collections from now on."""
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Stop watching collections."""
        if self._note in gc.callbacks:
            gc.callbacks.remove(self._note)

    def take_longest_s(self) -> float:
        """Return the CPU of the longest collection since the last call."""
        longest, self._longest_s = self._longest_s, 0.0
        return longest

    def _note(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._begun_s = time.thread_time()
        else:
            self._longest_s = max(self._longest_s, time.thread_time() - self._begun_s)
