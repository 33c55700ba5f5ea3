"""Two relays and one bot on the SDK: a call that changes its relay is one conversation (both RPCs)."""

import asyncio
import contextlib

import pytest

from sipgw.bot import BotServer, Call, CallEnded, Resumed
from sipgw.media_relay.streams.bot_call import BotProtocol
from sipgw.runtime.patience import patient

FRAME = 160
BOTH = pytest.mark.parametrize("protocol", [BotProtocol.TRUNK, BotProtocol.STREAM_CALL])


class Bot:
    """Echoes, and notes its calls."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.resumed = asyncio.Event()
        self.ended = asyncio.Event()

    async def __aenter__(self) -> "Bot":
        self.server = BotServer(self._handle, host="127.0.0.1", port=0)
        self.address = f"127.0.0.1:{await self.server.start()}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(0)

    async def _handle(self, call: Call) -> None:
        self.calls.append(call)
        watching = asyncio.create_task(self._watch(call))
        with contextlib.suppress(CallEnded):  # frames may be left when the call ends
            async for frame in call.frames():
                await call.play_raw(frame.data)
        await watching
        self.ended.set()

    async def _watch(self, call: Call) -> None:
        async for event in call.events():
            if isinstance(event, Resumed):
                self.resumed.set()


def facts(protocol: BotProtocol, epoch: int, address: str = "") -> dict[str, object]:
    return {
        "call_id": "one",
        "protocol": protocol,
        "epoch": epoch,
        "resume_token": "token",
        "resumed": epoch > 1,
        "preferred_address": address,
    }


async def goes_on(relay, handle: int) -> None:
    """Check that the caller's audio comes back after the speech that the bot repeats."""
    relay._seq += 100
    for number in range(10):
        frame = bytes([number + 1]) * FRAME
        relay.speak({handle: frame})
        said = relay.sessions.said[handle]
        await relay.sessions.until(lambda said=said, frame=frame: said.endswith(frame))


async def within(awaitable: object) -> None:
    await asyncio.wait_for(awaitable, patient(5))  # type: ignore[arg-type]


@BOTH
async def test_the_new_relay_goes_on_with_the_conversation_and_the_old_one_is_superseded(
    new_relay, protocol: BotProtocol
):
    """The old relay, frozen or cut off, learns of the move from the bot."""
    old, new = new_relay(), new_relay()
    async with Bot() as bot:
        old.open(1, bot.address, **facts(protocol, 1))
        await old.sessions.told_of("ready", 1)
        assert old.sessions.can_resume == {1: True}
        await old.converse([1])
        new.open(7, bot.address, **facts(protocol, 2, bot.address))
        await new.sessions.told_of("ready", 7)
        await old.sessions.told_of("superseded", 1)
        await within(bot.resumed.wait())
        await goes_on(new, 7)
        assert len(bot.calls) == 1
        assert bot.calls[0].config.resumed
        new.bridge.close(7, "hangup")
        await within(bot.ended.wait())


@BOTH
async def test_a_relay_that_lets_a_moved_call_go_does_not_end_it(new_relay, protocol: BotProtocol):
    old, new = new_relay(), new_relay()
    async with Bot() as bot:
        old.open(1, bot.address, **facts(protocol, 1))
        await old.sessions.told_of("ready", 1)
        await old.converse([1])
        old.bridge.close(1, "moved", moved=True)
        new.open(7, bot.address, **facts(protocol, 2, bot.address))
        await new.sessions.told_of("ready", 7)
        await within(bot.resumed.wait())
        await goes_on(new, 7)
        assert len(bot.calls) == 1
        assert not bot.calls[0].is_over


@BOTH
async def test_a_relay_that_comes_too_late_gets_no_stream(new_relay, protocol: BotProtocol):
    old, new = new_relay(), new_relay()
    async with Bot() as bot:
        new.open(7, bot.address, **facts(protocol, 2))
        await new.sessions.told_of("ready", 7)
        old.open(1, bot.address, **facts(protocol, 1))
        await old.sessions.told_of("superseded", 1)
        await new.converse([7])


@BOTH
async def test_another_instance_of_the_bot_is_not_told_that_it_resumes(new_relay, protocol: BotProtocol):
    new = new_relay()
    async with Bot() as bot:
        new.open(7, bot.address, **facts(protocol, 2, "127.0.0.1:1"))
        await new.sessions.told_of("ready", 7)
        await new.converse([7])
        assert not bot.calls[0].config.resumed
        assert bot.calls[0].config.resume_token == "token"


async def test_an_old_bot_gets_hangup_even_when_its_call_moves(relay, old_bots):
    """Such a bot knows no moves: it takes the other relay's stream for another call."""
    bot = old_bots()
    relay.open(1, bot.address, protocol=BotProtocol.STREAM_CALL)
    await relay.sessions.told_of("ready", 1)
    await relay.converse([1])
    assert relay.sessions.can_resume == {1: False}
    relay.bridge.close(1, "moved", moved=True)
    for _ in range(500):
        if any(event.HasField("control") for event in bot.seen):
            break
        await asyncio.sleep(0.01)  # it has threads
    kinds = {event.WhichOneof("payload") for event in bot.seen}
    assert kinds == {"config", "audio", "control"}
