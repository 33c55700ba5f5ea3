"""Owned and named tasks: a crash is logged and reported, and the owner's end cancels and awaits its tasks."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sipgw.runtime.telemetry.logs import get_logger

_log = get_logger("sipgw.runtime.tasks")
T = TypeVar("T")
_PAUSE_S = 1.0


class TaskGroupOwner:
    """Owns background tasks. Unlike in asyncio.TaskGroup a crash of one leaves the others alone."""

    def __init__(self, name: str, *, on_crash: Callable[[str], None] | None = None) -> None:
        """Take `on_crash`, which is called with the name of a spawned task when an error has ended it."""
        self._name = name
        self._on_crash = on_crash
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def is_closed(self) -> bool:
        """Whether it starts no more tasks."""
        return self._is_closed

    def spawn(self, coro: Coroutine[Any, Any, T], name: str, *, call_id: str = "") -> asyncio.Task[T]:
        """Start `coro` as a task named "owner/name"; its crash is logged with the call that it served."""
        if self._is_closed:
            coro.close()
            raise RuntimeError(f"{self._name} is closed: it starts no more tasks")
        task = asyncio.get_running_loop().create_task(coro, name=f"{self._name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finished(done, name, call_id))
        return task

    def keep(self, make: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Run the coroutine that `make` returns as a task, and again a while after each crash."""
        return self.spawn(self._run_again(make, name), name)

    async def aclose(self) -> None:
        """Cancel the running tasks and wait for their end. The task that calls this is left alone."""
        self._is_closed = True
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _run_again(self, make: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        while True:
            try:
                await make()
                return
            except Exception as error:  # others rely on this task: no error may end it
                self._note_crash(f"{self._name}/{name}", name, "", error)
            await asyncio.sleep(_PAUSE_S)

    def _finished(self, task: asyncio.Task[Any], name: str, call_id: str) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note_crash(task.get_name(), name, call_id, error)

    def _note_crash(self, task: str, name: str, call_id: str, error: BaseException) -> None:
        of_call = {"call_id": call_id} if call_id else {}
        _log.error("task_crashed", task=task, **of_call, exc_info=error)
        if self._on_crash is not None:
            self._on_crash(name)
