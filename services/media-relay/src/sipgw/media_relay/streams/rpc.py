"""A typed wrapper of a grpc.aio bidirectional call, and channels to bots.

grpc.aio overwrites the status that the bot sent when one of our writes fails as the stream ends (grpc issue
36066): OK and UNIMPLEMENTED then mostly read as INTERNAL. The status is therefore taken in the done callback,
which runs when it arrives. A write that fails before that also runs the callback, with a status made up by
grpc: what the bot said before its end must still be read then, and its own status follows.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import grpc
import grpc.aio

Request = TypeVar("Request")
Response = TypeVar("Response")

MAX_MESSAGE_BYTES = 16 << 20
_WRITE_ERRORS = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)


class _AioCall(Protocol):
    """The part of grpc.aio.StreamStreamCall that is used."""

    def write(self, message: Any) -> Awaitable[None]: ...
    def __aiter__(self) -> AsyncIterator[Any]: ...
    def done_writing(self) -> Awaitable[None]: ...
    def initial_metadata(self) -> Awaitable[Sequence[tuple[str, str]]]: ...
    def cancel(self) -> bool: ...
    def code(self) -> Awaitable[grpc.StatusCode]: ...
    def details(self) -> Awaitable[str]: ...
    def add_done_callback(self, callback: Callable[[Any], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """How a stream ended."""

    code: grpc.StatusCode
    details: str

    @property
    def is_ok(self) -> bool:
        """Whether the stream ended with OK."""
        return self.code is grpc.StatusCode.OK

    def __str__(self) -> str:
        return f"{self.code.name}: {self.details}" if self.details else self.code.name


_MADE_UP = RpcStatus(grpc.StatusCode.INTERNAL, "Internal error from Core")
"""The status that grpc.aio makes up for a stream on which a write failed."""
_LOOK_AGAIN_S: Final = 0.02
_LATE_STATUS_LOOKS: Final = 25


class BidiCall(Generic[Request, Response]):
    """One stream. The results of `write` and `read` tell when it is over; `status` then tells why."""

    def __init__(self, call: object) -> None:
        self._call = cast("_AioCall", call)
        self.status: asyncio.Future[RpcStatus] = asyncio.get_running_loop().create_future()
        self._messages = self._call.__aiter__()
        """This iterator goes on after a failed write, which `read()` does not."""
        self._is_reading = False
        self._call.add_done_callback(self._ended)

    async def write(self, message: Request) -> bool:
        """Write a message; return whether the transport took it.

        Never timed out: that would kill the stream.
        """
        try:
            await self._call.write(message)
        except _WRITE_ERRORS:
            return False
        return True

    async def read(self) -> Response | None:
        """Return the next message; None at the end."""
        self._is_reading = True
        try:
            return cast("Response", await anext(self._messages))
        except (StopAsyncIteration, grpc.RpcError, grpc.aio.BaseError):
            self._is_reading = False
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return None  # the RPC was cancelled, not this task

    async def initial_metadata(self) -> dict[str, str]:
        """Return the initial metadata of the bot; empty when the stream failed."""
        try:
            return dict(await self._call.initial_metadata())
        except (grpc.RpcError, grpc.aio.BaseError):
            return {}

    async def done_writing(self) -> None:
        """Half-close the stream."""
        try:
            await self._call.done_writing()
        except _WRITE_ERRORS:
            return

    def cancel(self) -> None:
        """Cancel the stream."""
        self._call.cancel()

    def _ended(self, _call: object) -> None:
        self._settle(looks_left=_LATE_STATUS_LOOKS)

    def _settle(self, looks_left: int) -> None:
        if self.status.done():
            return
        code = _value_of(self._call.code())
        details = _value_of(self._call.details())
        status = RpcStatus(code or grpc.StatusCode.UNKNOWN, details or "")
        if status == _MADE_UP and looks_left:  # nothing signals when the bot's own status replaces it
            left = looks_left if self._is_reading else looks_left - 1
            asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._settle, left)
        else:
            self.status.set_result(status)


T = TypeVar("T")


def _value_of(awaitable: Awaitable[T]) -> T | None:
    """Return a coroutine's result without waiting: the status is there when the done callback runs."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return done.value
    return None


def open_bot_channel(address: str, *, tls_name: str | None) -> grpc.aio.Channel:
    """Open a channel to one bot pod, "ip:port". `tls_name` is the name that its certificate must bear.

    There are no frequent pings: servers with default settings close a connection that pings more often than
    every five minutes (too_many_pings). The long keepalive still turns on TCP_USER_TIMEOUT with its time-out.
    Since audio is always under way, that notices a dead host; a trunk's acks notice it sooner.
    """
    options: list[tuple[str, int | str]] = [
        ("grpc.keepalive_time_ms", 310_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.min_reconnect_backoff_ms", 1000),  # in gRPC, the time-out of one attempt
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
    if tls_name is None:
        return grpc.aio.insecure_channel(address, options=options)
    options.append(("grpc.ssl_target_name_override", tls_name))
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), options=options)
