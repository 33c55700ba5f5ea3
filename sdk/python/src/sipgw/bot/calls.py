"""The calls of one bot process, over all its streams: their number, and the latest stream of each."""

import asyncio
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeAlias

from sipgw.bot.call import Call
from sipgw.bot.config import CallConfig
from sipgw.bot.runner import Bot, run_handler
from sipgw.bot.speech import CallStream

_FINISHED_KEPT_S = 60.0  # a goodbye may be played for so long after the handler has returned


class RefusalKind(Enum):
    """Why a stream gets no call: the bot takes none, a later stream has it, or it is over already."""

    BUSY = "busy"
    SUPERSEDED = "superseded"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stream without a call; `reason` is for people."""

    kind: RefusalKind
    reason: str


@dataclass(frozen=True, slots=True)
class Attached:
    """A stream with its call. `begin` is the position in the speech where the stream begins."""

    call: Call
    handler: asyncio.Task[str | None]
    begin: int


Attachment: TypeAlias = Attached | Refusal
_Entry: TypeAlias = "tuple[Call, asyncio.Task[str | None]]"


@dataclass(slots=True)
class BotCalls:
    """Starts and owns a handler task per call, so that a broken stream leaves it time to finish."""

    bot: Bot
    rate_hz: int | None = None
    max_calls: int = 0
    """0: no limit."""
    audio_queue_ms: int = 2000
    ending_grace_s: float = 5.0
    resume_grace_s: float = 10.0
    is_stopping: bool = False
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when no call is left, so that streams may end."""
    _tasks: set[asyncio.Task[str | None]] = field(default_factory=set[asyncio.Task[str | None]])
    _latest: dict[str, _Entry] = field(default_factory=dict[str, _Entry])
    _finished: dict[str, float] = field(default_factory=dict[str, float])
    """End times by token."""

    def __len__(self) -> int:
        return len(self._tasks)

    def attach(self, config: CallConfig, stream: CallStream, limit: int | None) -> Attachment:
        """Return the call of a stream: the one in progress that its token names, else a new one."""
        entry = self._latest.get(_key(config))
        if entry is not None and not entry[0].is_over:
            call, handler = entry
            if call.config.epoch > config.epoch:
                reason = f"superseded: epoch {config.epoch} is behind {call.config.epoch}"
                return Refusal(RefusalKind.SUPERSEDED, reason)
            if config.can_be_resumed and call.config.wire_format == config.wire_format:
                return Attached(call, handler, call.attach(config, stream, limit))
        refusal = self._refusal(config)
        return refusal or self._start(config, stream, limit)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; wait `grace_s` for those in progress, then cancel their handlers."""
        self.is_stopping = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace_s)
        rest = set(self._tasks)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
        self.stopped.set()

    def _refusal(self, config: CallConfig) -> Refusal | None:
        now_s = asyncio.get_running_loop().time()
        self._finished = {key: at for key, at in self._finished.items() if now_s - at < _FINISHED_KEPT_S}
        if config.resumed and _key(config) in self._finished:
            return Refusal(RefusalKind.FINISHED, "finished")
        if self.is_stopping:
            return Refusal(RefusalKind.BUSY, "the bot is stopping")
        if self.max_calls and len(self._tasks) >= self.max_calls:
            return Refusal(RefusalKind.BUSY, f"the bot takes no more than {self.max_calls} calls")
        return None

    def _start(self, config: CallConfig, stream: CallStream, limit: int | None) -> Attached:
        """Start a call and its handler's task. An earlier call that can't be resumed ends here."""
        config = replace(config, resumed=False)  # unknown in this process
        call = Call(
            config,
            rate_hz=self.rate_hz,
            audio_queue_ms=self.audio_queue_ms,
            resume_grace_s=self.resume_grace_s,
        )
        begin = call.attach(config, stream, limit)
        earlier = self._latest.get(_key(config))
        if earlier is not None:
            earlier[0].receive_end("attached again")
        handler = run_handler(self.bot, call, ending_grace_s=self.ending_grace_s)
        task = asyncio.get_running_loop().create_task(handler, name=f"bot/{config.call_id}")
        self._latest[_key(config)] = (call, task)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, call))
        return Attached(call, task, begin)

    def _ended(self, task: asyncio.Task[str | None], call: Call) -> None:
        self._tasks.discard(task)
        key = _key(call.config)
        entry = self._latest.get(key)
        if entry is not None and entry[0] is call:
            del self._latest[key]
        if task.cancelled() or task.exception() is not None or task.result() is not None:
            return
        if call.config.can_be_resumed and not call.is_over:
            self._finished[key] = asyncio.get_running_loop().time()


def _key(config: CallConfig) -> str:
    return config.resume_token or config.call_id
