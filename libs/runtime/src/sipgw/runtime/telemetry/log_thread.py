"""LogThread: writes log lines beside the event loop, so that no slow disk and no slow reader stops it."""

import atexit
import queue
import threading
from collections.abc import Callable
from typing import Final, TextIO

_MOST_LINES: Final = 4096
"""Lines that may wait; later ones are dropped."""
_LAST_WORDS_S: Final = 2.0
"""How long the end of the process waits for lines to be written."""


class LogThread:
    """A stream for loggers: `write` never waits, and a thread writes to `out`.

    When there is room again, the thread calls `on_dropped` with the number of lines that were dropped.
    """

    def __init__(self, out: TextIO, on_dropped: Callable[[int], None]) -> None:
        self._out = out
        self._on_dropped = on_dropped
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, text: str) -> int:
        """Queue some text."""
        if self._lines.qsize() >= _MOST_LINES:
            self._dropped += 1
        else:
            self._lines.put(text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread flushes."""

    def close(self) -> None:
        """Write the queued lines, if that is quick, and end the thread."""
        self._lines.put(None)
        self._thread.join(_LAST_WORDS_S)

    def _run(self) -> None:
        while (text := self._lines.get()) is not None:
            try:
                self._out.write(text)
                if self._lines.empty():
                    self._out.flush()
            except (OSError, ValueError):  # nobody reads any more, or the stream is closed
                continue
            if self._dropped and self._lines.qsize() < _MOST_LINES // 2:
                dropped, self._dropped = self._dropped, 0
                self._on_dropped(dropped)
