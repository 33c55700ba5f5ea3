"""The writing half of a trunk: what goes with which message."""

import asyncio

import numpy as np
import pytest

from sipgw.api import voicebot_pb2 as pb
from sipgw.media_relay.streams.counters import BotCounters
from sipgw.media_relay.streams.trunk_sender import TrunkSender
from sipgw.runtime.patience import patient

SIZE = 160


class Bot:
    """The other end: it takes every message."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[pb.TrunkEvents] = asyncio.Queue()

    async def write(self, message: pb.TrunkEvents) -> bool:
        self.messages.put_nowait(message)
        return True

    async def kinds(self) -> list[str]:
        async with asyncio.timeout(patient(5)):
            message = await self.messages.get()
        return [str(item.WhichOneof("item")) for item in message.items]


class Trunk:
    """A sender that runs, and the bot that it writes to."""

    def __init__(self) -> None:
        self.bot = Bot()
        self.sender = TrunkSender(BotCounters())
        self.task = asyncio.create_task(self.sender.run(self.bot))

    def say(self, *handles: int) -> None:
        columns = (
            np.array(handles, np.uint32),
            np.zeros(len(handles), np.uint64),
            np.zeros(len(handles), np.uint8),
        )
        self.sender.send_frames(1, *columns, np.zeros((len(handles), SIZE), np.uint8))


@pytest.fixture
async def trunk():
    trunk = Trunk()
    yield trunk
    trunk.sender.close()
    trunk.task.cancel()


async def test_acks_and_credits_go_along_with_audio(trunk):
    trunk.sender.received(items=3, acks=0)
    trunk.sender.give_credit(7, 4000)
    trunk.say(7)
    assert await trunk.bot.kinds() == ["audio", "ack"]
    trunk.sender.received(items=1, acks=1)  # an ack needs none
    trunk.say(7)
    assert await trunk.bot.kinds() == ["audio"]


async def test_acks_and_credits_go_by_themselves_where_nothing_else_does(trunk):
    trunk.sender.received(items=3, acks=0)
    assert await trunk.bot.kinds() == ["ack"]
    trunk.sender.give_credit(7, 4000)
    assert await trunk.bot.kinds() == ["ack"]


async def test_an_event_goes_at_once_and_after_the_audio_before_it(trunk):
    trunk.say(1)
    assert await trunk.bot.kinds() == ["audio"]
    trunk.say(2)
    trunk.sender.send(pb.TrunkEvent(end=pb.End(handle=2)))
    assert await trunk.bot.kinds() == ["audio", "end"]


async def test_audio_that_waits_for_other_audio_goes_even_if_none_comes(trunk):
    trunk.say(1)
    assert await trunk.bot.kinds() == ["audio"]
    trunk.say(2)
    assert trunk.bot.messages.empty()
    assert await trunk.bot.kinds() == ["audio"]


async def test_drained_waits_for_audio_that_waits(trunk):
    trunk.say(1)
    await trunk.bot.kinds()
    trunk.say(2)
    await trunk.sender.drained(patient(5))
    assert await trunk.bot.kinds() == ["audio"]
