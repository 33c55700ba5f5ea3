"""Every task is owned and named: its crash is logged, and its owner's end cancels and awaits it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sipgw.runtime.telemetry.logs import get_logger

_log = get_logger("sipgw.runtime.tasks")
T = TypeVar("T")


class TaskGroupOwner:
    """Owns background tasks. Unlike in asyncio.TaskGroup a crash of one leaves the others alone."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start `coro` as a task named "owner/name"."""
        if self._is_closed:
            coro.close()
            raise RuntimeError(f"{self._name} is closed: it starts no more tasks")
        task = asyncio.get_running_loop().create_task(coro, name=f"{self._name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def aclose(self) -> None:
        """Cancel what still runs and wait for its end. The task that calls this is left alone."""
        self._is_closed = True
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("task_crashed", task=task.get_name(), exc_info=error)
