"""The SDK names the cause and the cure of a bot author's usual mistakes."""

import asyncio
import functools
import time

import numpy as np
import pytest

from sipgw.bot import Call
from sipgw.bot.converter import as_samples
from sipgw.bot.loop_watch import LoopWatch
from sipgw.bot.testing import TestCaller


async def failure(bot: object, caplog: pytest.LogCaptureFixture) -> str:
    """Return the log of a bot that fails at once."""
    caller = TestCaller(bot)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="bot failed"):
        async with caller:
            pass
    return caplog.text


async def test_a_bot_that_is_no_async_function(caplog: pytest.LogCaptureFixture):
    def bot(call: Call) -> None:
        pass

    assert "a bot is an async function: write `async def bot(call)`" in await failure(bot, caplog)


async def test_a_bot_that_raises_before_it_awaits(caplog: pytest.LogCaptureFixture):
    def bot(call: Call) -> None:
        raise KeyError("oops")

    assert "KeyError: 'oops'" in await failure(bot, caplog)


async def test_what_returns_an_awaitable_is_a_bot_too():
    async def say(call: Call, samples: int) -> None:
        await call.play(np.ones(samples, np.int16))

    async with TestCaller(functools.partial(say, samples=160)) as caller:
        assert len(await caller.hear(ms=20)) == 160
    async with TestCaller(lambda call: say(call, 160)) as caller:
        assert len(await caller.hear(ms=20)) == 160


@pytest.mark.parametrize("shape", [(800, 2), (2, 800), (2, 2, 2)])
def test_samples_of_more_than_one_channel(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="one channel"):
        as_samples(np.zeros(shape, np.int16))


@pytest.mark.parametrize("shape", [(0,), (800,), (1, 800), (800, 1)])
def test_one_channel_in_any_shape_is_taken(shape: tuple[int, ...]):
    assert as_samples(np.zeros(shape, np.int16)).shape == (int(np.prod(shape)),)


async def told(caplog: pytest.LogCaptureFixture) -> str:
    """Return the line that the watch logs from its thread."""
    async with asyncio.timeout(5):
        while not caplog.text:  # noqa: ASYNC110 - a log says nothing
            await asyncio.sleep(0.01)
    return caplog.text


async def test_a_handler_that_blocks_the_loop_is_named_with_its_line(caplog: pytest.LogCaptureFixture):
    def thinks_hard() -> None:
        time.sleep(0.3)

    watch = LoopWatch(limit_s=0.1)
    watch.start()
    try:
        thinks_hard()
        text = await told(caplog)
    finally:
        watch.stop()
    assert "the event loop has stood still for 0.1 s" in text
    assert "in thinks_hard" in text
    assert "time.sleep(0.3)" in text
