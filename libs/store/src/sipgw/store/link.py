"""One connection that all commands share: written in batches, answered in order.

A pool gives each command a connection. That costs more, and when Redis freezes each command that timed out
makes a new one. Here a command that gets no answer in time closes the connection and fails all commands
behind it; the next command connects anew. Blocking reads need a link of their own.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.store.driver import RedisError, ResponseError

_CONNECT_TIMEOUT_S: Final = 1.0


class LinkLost(Exception):
    """The connection broke or could not be made. Commands that were sent may have taken effect."""


class Connection(Protocol):
    """The part of redis-py's connection that we use: address, TLS, authentication, packing and parsing."""

    def connect(self) -> Awaitable[None]:
        """Connect and authenticate."""
        ...

    def disconnect(self, nowait: bool = False) -> Awaitable[None]:  # noqa: FBT001, FBT002
        """Close the connection."""
        ...

    def pack_command(self, *args: Any) -> list[bytes]:
        """Serialize a command."""
        ...

    def send_packed_command(self, command: Iterable[bytes]) -> Awaitable[None]:
        """Write a serialized command."""
        ...

    def read_response(self, disable_decoding: bool = False) -> Awaitable[Any]:  # noqa: FBT001, FBT002
        """Read one reply."""
        ...


class Link:
    """Commands on one connection, made at the first command and again after a loss."""

    def __init__(self, make_connection: Callable[[], Connection], name: str) -> None:
        self._make_connection = make_connection
        self._tasks = TaskGroupOwner(f"store {name}")
        self._line: _Line | None = None
        self._connecting: asyncio.Task[_Line | LinkLost] | None = None

    async def request(self, args: tuple[Any, ...], timeout_s: float) -> Any:
        """Return the reply. Raises LinkLost, TimeoutError, redis' ResponseError."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        line = self._line
        if line is None or line.is_lost:
            async with asyncio.timeout(timeout_s):
                line = await self._connected()
        answer = line.request(args)
        try:
            # Not asyncio.timeout: it cancels at once, although after a stall of ours the answer is in the
            # socket, unread.
            left_s = max(deadline - asyncio.get_running_loop().time(), 0.0)
            await asyncio.wait((answer,), timeout=left_s)
            if answer.done():
                return answer.result()
        finally:
            answer.cancel()
        line.lose("no answer in time")
        raise TimeoutError

    def reset(self) -> None:
        """Close the connection, since its server is no longer the one we want."""
        if self._line is not None:
            self._line.lose("reset")

    async def aclose(self) -> None:
        """Close the connection for good."""
        if self._line is not None:
            self._line.lose("closed")
            await self._line.finished.wait()
        await self._tasks.aclose()

    async def _connected(self) -> "_Line":
        """Return the connection, made by one task for all commands that wait."""
        if self._connecting is None or self._connecting.done():
            self._connecting = self._tasks.spawn(self._connect(), "connect")
        made = await asyncio.shield(self._connecting)
        if isinstance(made, LinkLost):
            raise LinkLost(str(made))
        return made

    async def _connect(self) -> "_Line | LinkLost":
        connection = self._make_connection()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await connection.connect()
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect(nowait=True)
            return LinkLost(f"cannot connect: {error or type(error).__name__}")
        self._line = _Line(connection)
        self._tasks.spawn(self._line.run(), "line")
        return self._line


class _Line:
    """One connection from its making to its loss."""

    def __init__(self, connection: Connection) -> None:
        self.is_lost = False
        self.finished = asyncio.Event()
        self._why = ""
        self._connection = connection
        self._unsent: list[bytes] = []
        self._has_unsent = asyncio.Event()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._loss = asyncio.get_running_loop().create_future()

    def request(self, args: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Queue a command and return the future of its reply."""
        if self.is_lost:
            raise LinkLost(self._why)
        self._unsent += self._connection.pack_command(*args)
        self._has_unsent.set()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        return answer

    def lose(self, why: str) -> None:
        """End this connection: fail all waiting commands now."""
        if self.is_lost:
            return
        self.is_lost, self._why = True, why
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(LinkLost(why))
                answer.exception()  # mark it as retrieved: a caller that gave up will not
        self._waiting.clear()
        self._loss.set_result(None)

    async def run(self) -> None:
        """Write and read until the connection is lost, then close it."""
        writer = asyncio.create_task(self._write(), name="store line writer")
        reader = asyncio.create_task(self._read(), name="store line reader")
        try:
            await asyncio.wait([writer, reader, self._loss], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.lose("closed")
            writer.cancel()
            reader.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)
            await self._connection.disconnect(nowait=True)
            await asyncio.sleep(0)  # the transport closes its socket in the next turn
            self.finished.set()

    async def _write(self) -> None:
        try:
            while True:
                await self._has_unsent.wait()
                self._has_unsent.clear()
                batch, self._unsent = self._unsent, []
                await self._connection.send_packed_command(batch)
        except (RedisError, OSError) as error:
            self.lose(str(error))

    async def _read(self) -> None:
        try:
            while True:
                self._answer(await self._read_one())
        except (RedisError, OSError) as error:
            self.lose(str(error))

    async def _read_one(self) -> Any:
        try:
            return await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error

    def _answer(self, reply: Any) -> None:
        if not self._waiting:
            raise RedisError("a reply without a command")
        answer = self._waiting.popleft()
        if answer.done():
            return
        if isinstance(reply, ResponseError):
            answer.set_exception(reply)
        else:
            answer.set_result(reply)
