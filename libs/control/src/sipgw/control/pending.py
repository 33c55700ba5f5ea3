"""Commands that wait for their results: batched for the wire, matched by id, each with a deadline.

No I/O: a stream takes batches from here and brings results. Commands are idempotent. They outlive a break of
the stream and are sent again on the next one within their deadline.
"""

import asyncio
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sipgw.control.errors import Unreachable
from sipgw.control.reconnect import StreamStalled

_MAX_PENDING = 20_000


class Identified(Protocol):
    """A command or a result on the wire."""

    command_id: int


CommandT = TypeVar("CommandT", bound=Identified)
ResultT = TypeVar("ResultT", bound=Identified)


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[CommandT, ResultT]):
    command: CommandT
    future: asyncio.Future[ResultT]
    asked_at: float


class PendingCommands(Generic[CommandT, ResultT]):
    """The commands of one stream. A command past its deadline raises `unreachable` with the name `peer`.

    When nothing at all arrives for `patience_s` while a command waits, the stream is opened anew, since
    another replica may answer. The wait doubles each time until something arrives: on a busy machine the
    first peer may only be slow.
    """

    def __init__(
        self, peer: str, unreachable: type[Unreachable], deadline_s: float, *, patience_s: float | None = None
    ) -> None:
        self._peer = peer
        self._unreachable = unreachable
        self._deadline_s = deadline_s
        self._patience_s = self._patience_now_s = patience_s
        self._watch: asyncio.TimerHandle | None = None
        self._tried_at = 0.0
        self._next_id = 1
        self._attempt_up_to = 1
        self._pending: dict[int, _Waiting[CommandT, ResultT]] = {}
        self._unsent: list[CommandT] = []
        self._wake = asyncio.Event()
        self._heard_at = 0.0
        self._stalled = ""

    async def submit(self, command: CommandT) -> ResultT:
        """Send `command` with the next batch and return its result. Raises Unreachable after the deadline."""
        if len(self._pending) >= _MAX_PENDING:
            raise self._unreachable(f"{self._peer}: {_MAX_PENDING} commands wait already")
        loop = asyncio.get_running_loop()
        command_id = command.command_id = self._next_id
        self._next_id += 1
        future: asyncio.Future[ResultT] = loop.create_future()
        asked_at = loop.time()
        self._pending[command_id] = _Waiting(command, future, asked_at)
        self._unsent.append(command)
        self._wake.set()
        if self._watch is None and self._patience_now_s is not None:
            self._watch = loop.call_later(self._patience_now_s, self._lose_patience, loop)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await future
        except TimeoutError:
            if self._heard_at < asked_at:
                self.stall(f"nothing came back for {self._deadline_s:g} s")
            raise self._unreachable(f"{self._peer}: no answer in {self._deadline_s:g} s") from None
        finally:
            del self._pending[command_id]

    def _lose_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch = None
        oldest = next(iter(self._pending.values()), None)
        if oldest is None or self._patience_now_s is None:
            return
        left_s = max(oldest.asked_at, self._tried_at, self._heard_at) + self._patience_now_s - loop.time()
        if left_s <= 0:
            self.stall(f"nothing came back for {self._patience_now_s:g} s")
            self._tried_at = loop.time()
            left_s = self._patience_now_s = 2 * self._patience_now_s
        self._watch = loop.call_later(left_s, self._lose_patience, loop)

    async def wait(self) -> None:
        """Return when `take_batch` has commands, or something reported by `wake` has work."""
        await self._wake.wait()
        self._wake.clear()
        if self._stalled:
            raise StreamStalled(self._stalled)

    def stall(self, reason: str) -> None:
        """Make `wait` raise, so that the stream is opened anew: the peer answers nothing."""
        self._stalled = reason
        self._wake.set()

    def wake(self) -> None:
        """Make `wait` return."""
        self._wake.set()

    def take_batch(self) -> list[CommandT]:
        """Take all commands submitted since the last batch that are still wanted."""
        batch = [command for command in self._unsent if command.command_id in self._pending]
        self._unsent.clear()
        return batch

    def heard(self) -> None:
        """Note that the peer sent something: the stream makes progress."""
        self._heard_at = asyncio.get_running_loop().time()
        self._patience_now_s = self._patience_s

    def resolve(self, result: ResultT) -> None:
        """Give `result` to the command that waits for it; drop late ones."""
        entry = self._pending.get(result.command_id)
        if entry is not None and not entry.future.done():
            entry.future.set_result(result)

    def restart(self) -> None:
        """Begin a new stream: send every unanswered command again, in order."""
        self._stalled = ""
        self._unsent = [one.command for one in self._pending.values() if not one.future.done()]
        self._wake.set()

    def begin_attempt(self) -> None:
        """Note that the stream tries to connect."""
        self._attempt_up_to = self._next_id

    def fail_attempt(self, reason: str) -> None:
        """Fail the commands that have waited through this attempt: nobody listens.

        Not after an attempt that was given up for the peer's silence: its commands go to the next peer.
        """
        if not self._stalled:
            self._fail(reason, self._attempt_up_to)

    def fail_all(self, reason: str) -> None:
        """Fail all commands: there will be no further stream."""
        self._fail(reason, self._next_id)

    def _fail(self, reason: str, up_to: int) -> None:
        for command_id, one in self._pending.items():
            if command_id < up_to and not one.future.done():
                one.future.set_exception(self._unreachable(f"{self._peer}: {reason}"))
