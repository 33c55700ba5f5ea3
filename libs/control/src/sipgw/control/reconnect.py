"""Keep a long-lived stream alive: run its session again whenever it breaks, with growing pauses."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, cast

import grpc
import grpc.aio

from sipgw.runtime.telemetry.logs import get_logger

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.5
_END = cast(Any, grpc.aio).EOF  # missing in the stubs
_AGED = "max connection age"
_WROTE_TOO_LATE = "Internal error from Core"
_log = get_logger("sipgw.control")

Session = Callable[[Callable[[], None]], Awaitable[None]]
"""One connection of a stream.

It calls its argument once the peer has answered, and ends by returning or raising.
"""


class StreamStalled(Exception):
    """The connection stands, but the peer sends nothing."""


async def keep_connected(name: str, session: Session, on_down: Callable[[bool], None]) -> NoReturn:
    """Run `session` for ever and call `on_down(was_established)` after each; False means that nobody listens.

    A session that was established is followed by the next at once and without a warning, since servers close
    connections by age. There is a warning only if nobody listens afterwards.
    """
    failures = 0
    while True:
        is_established = is_aged = False

        def established() -> None:
            nonlocal is_established, failures
            if not is_established:
                is_established, failures = True, 0
                _log.info("stream_attached", stream=name)

        try:
            await session(established)
            reason = "ended by the peer"
        except (grpc.aio.AioRpcError, StreamStalled, asyncio.InvalidStateError) as error:
            reason, is_aged = reason_of(error), is_established and is_of_age(error)
        if is_aged:
            _log.info("stream_renewed", stream=name, reason=reason)
        elif is_established or failures == 0:
            _log.warning("stream_broken", stream=name, reason=reason, was_attached=is_established)
        on_down(is_established)
        await asyncio.sleep(0 if is_established else _pause_s(failures))
        failures += not is_aged


async def pump(
    call: grpc.aio.StreamStreamCall[Any, Any],
    receive: Callable[[Any], None],
    send: Callable[[], Awaitable[Any]],
) -> None:
    """Read into `receive` and write what `send` returns, until the stream ends or breaks or `send` raises."""

    async def read_all() -> None:
        while (message := await call.read()) is not _END:
            receive(message)

    async def write_all() -> None:
        while True:
            await call.write(await send())

    tasks = [asyncio.ensure_future(read_all()), asyncio.ensure_future(write_all())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0] in done or call.done() or isinstance(tasks[1].exception(), asyncio.InvalidStateError):
            await tasks[0]  # the reader gets the reason why the stream ended
        else:
            await tasks[1]
    finally:
        for task in tasks:
            task.cancel()
        call.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def is_of_age(error: BaseException) -> bool:
    """Return whether an established stream ended because of its connection's age, as far as gRPC tells.

    A message written at the moment of the end hides the reason: gRPC then says that the RPC is finished, or
    that its own batch failed.
    """
    if isinstance(error, grpc.aio.AioRpcError):
        details = error.details() or ""
        if error.code() is grpc.StatusCode.INTERNAL:
            return details == _WROTE_TOO_LATE
        return error.code() is grpc.StatusCode.UNAVAILABLE and _AGED in details
    return isinstance(error, asyncio.InvalidStateError)


def reason_of(error: BaseException) -> str:
    """Return the reason as one line for logs and for people."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {error}"


def _pause_s(failures: int) -> float:
    return min(_FIRST_PAUSE_S * 2**failures, _LONGEST_PAUSE_S) * random.uniform(0.5, 1)
