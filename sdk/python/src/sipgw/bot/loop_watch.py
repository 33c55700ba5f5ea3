"""Report the line that blocks the event loop: `time.sleep` in one handler silences every call."""

import asyncio
import logging
import sys
import threading
import time
import traceback

_log = logging.getLogger("sipgw.bot")
_LINES = 3  # of the stack, innermost last


class LoopWatch:
    """Logs once for each time that the loop makes no turn for `limit_s`."""

    def __init__(self, limit_s: float = 0.5) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._turned_at = time.monotonic()
        self._stopping = threading.Event()
        self._beat: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)

    def start(self) -> None:
        """Begin to watch the loop of this thread."""
        self._turn()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()
        if self._beat is not None:
            self._beat.cancel()

    def _turn(self) -> None:
        self._turned_at = time.monotonic()
        self._beat = self._loop.call_later(self._limit_s / 4, self._turn)

    def _watch(self) -> None:
        told_of = 0.0
        slept_at = time.monotonic()
        while not self._stopping.wait(self._limit_s / 4):
            woke_at, turned_at = time.monotonic(), self._turned_at
            # the whole process was stopped: no line is to blame
            was_held_up = woke_at - slept_at > self._limit_s
            slept_at = woke_at
            if not was_held_up and woke_at - turned_at > self._limit_s and told_of != turned_at:
                told_of = turned_at
                self._tell()

    def _tell(self) -> None:
        frames = sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - documented
        frame = frames.get(self._loop_thread)
        where = "".join(traceback.format_stack(frame)[-_LINES:]) if frame is not None else ""
        _log.warning(
            "the event loop has stood still for %g s, and with it every call: await asyncio.sleep instead of "
            "time.sleep, asyncio.to_thread for slow work. It is here:\n%s",
            self._limit_s,
            where.rstrip(),
        )
