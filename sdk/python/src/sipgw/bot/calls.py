"""The calls of one bot process, over all its streams: how many, and which attach of a call is the latest."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipgw.bot.call import Call, CallStream
from sipgw.bot.runner import Bot, run_handler

if TYPE_CHECKING:
    from sipgw.bot.config import CallConfig
    from sipgw.bot.room import PlayoutRoom


@dataclass(slots=True)
class BotCalls:
    """Starts a handler task per call and owns it, so that a broken stream leaves it time to wrap up."""

    bot: Bot
    rate_hz: int | None = None
    max_calls: int = 0  # 0: no limit
    audio_queue_ms: int = 2000
    ending_grace_s: float = 5.0
    is_stopping: bool = False
    stopped: asyncio.Event = field(default_factory=asyncio.Event)  # no call is left; streams may end
    _tasks: set[asyncio.Task[str | None]] = field(default_factory=set[asyncio.Task[str | None]])
    _latest: dict[str, Call] = field(default_factory=dict[str, Call])

    def __len__(self) -> int:
        return len(self._tasks)

    def refusal(self, config: CallConfig) -> str | None:
        """Why this call can't be taken; None when it can."""
        if self.is_stopping:
            return "the bot is stopping"
        if self.max_calls and len(self._tasks) >= self.max_calls:
            return f"the bot takes no more than {self.max_calls} calls"
        current = self._latest.get(config.call_id)
        if current is not None and current.config.epoch > config.epoch:
            return f"epoch {config.epoch} is behind {current.config.epoch}"
        return None

    def start(
        self, config: CallConfig, stream: CallStream, room: PlayoutRoom
    ) -> tuple[Call, asyncio.Task[str | None]]:
        """A call and the task of its handler. An earlier attach of the same call ends here."""
        call = Call(config, stream, room, rate_hz=self.rate_hz, audio_queue_ms=self.audio_queue_ms)
        earlier = self._latest.get(config.call_id)
        if earlier is not None:
            earlier.receive_end("attached again")
        self._latest[config.call_id] = call
        handler = run_handler(self.bot, call, ending_grace_s=self.ending_grace_s)
        task = asyncio.get_running_loop().create_task(handler, name=f"bot/{config.call_id}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finished(done, call))
        return call, task

    async def stop(self, grace_s: float) -> None:
        """Take no more; wait `grace_s` for those in progress, then cancel their handlers."""
        self.is_stopping = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace_s)
        rest = set(self._tasks)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
        self.stopped.set()

    def _finished(self, task: asyncio.Task[str | None], call: Call) -> None:
        self._tasks.discard(task)
        if self._latest.get(call.call_id) is call:
            del self._latest[call.call_id]
        if not task.cancelled():
            task.exception()
