"""Pending commands of one stream: each caller gets its result, and a stalled stream is given up."""

import asyncio
import contextlib

import pytest

from sipgw.api.registry.v1.registry_pb2 import PlacementCommand, PlacementResult
from sipgw.control import RegistryUnreachable
from sipgw.control.pending import PendingCommands
from sipgw.control.reconnect import StreamStalled
from sipgw.runtime.patience import patient

PATIENCE_S = patient(0.05)
Pending = PendingCommands[PlacementCommand, PlacementResult]


def commands(patience_s: float | None = PATIENCE_S) -> Pending:
    return PendingCommands("registry", RegistryUnreachable, 10.0, patience_s=patience_s)


async def until_stalled(pending: Pending) -> float:
    """Return how long the stream's writer waits until it is told to give the stream up."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(StreamStalled, match="nothing came back"):
        await write(pending)
    return loop.time() - began


async def write(pending: Pending) -> None:
    """Take batches for ever, as the writer of a stream does."""
    while True:
        await pending.wait()
        pending.take_batch()


async def test_a_stream_on_which_nothing_comes_is_given_up_later_each_time() -> None:
    pending = commands()
    waiting = asyncio.ensure_future(pending.submit(PlacementCommand(call_id="a")))
    assert await until_stalled(pending) >= PATIENCE_S * 0.9
    pending.restart()
    assert [one.call_id for one in pending.take_batch()] == ["a"]
    assert await until_stalled(pending) >= PATIENCE_S * 1.9
    pending.restart()
    (again,) = pending.take_batch()
    pending.heard()
    pending.resolve(PlacementResult(command_id=again.command_id, placed=True))
    assert (await waiting).placed


async def test_a_stream_that_says_anything_is_kept() -> None:
    pending = commands()
    waiting = asyncio.ensure_future(pending.submit(PlacementCommand(call_id="a")))

    async def hear_now_and_then() -> None:
        while True:
            pending.heard()
            await asyncio.sleep(PATIENCE_S / 5)

    hearing = asyncio.ensure_future(hear_now_and_then())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(4 * PATIENCE_S):
            while True:
                await pending.wait()
    hearing.cancel()
    waiting.cancel()


async def test_a_stream_without_commands_may_be_silent() -> None:
    pending = commands()
    waiting = asyncio.ensure_future(pending.submit(PlacementCommand(call_id="a")))
    await pending.wait()
    (sent,) = pending.take_batch()
    pending.heard()
    pending.resolve(PlacementResult(command_id=sent.command_id))
    await waiting
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4 * PATIENCE_S):
            await pending.wait()
