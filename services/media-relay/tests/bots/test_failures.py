"""Bots that are absent, die, come back, refuse, stop reading."""

import asyncio
import random

import grpc
import pytest

import sipgw.media_relay.bots.session as session_module
import sipgw.media_relay.streams.trunk as trunk_module
from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.bot import Call
from sipgw.bot.echo import EchoServicer
from sipgw.media_relay.streams.bot_call import BotProtocol
from sipgw.runtime.patience import patient

FRAME = 160
BOTH = pytest.mark.parametrize("protocol", [BotProtocol.TRUNK, BotProtocol.STREAM_CALL])


async def test_an_absent_bot_fails_before_ready_within_the_timeout(relay):
    began = asyncio.get_running_loop().time()
    relay.open(1, "127.0.0.1:1", ready_timeout_ms=400)
    failed = await relay.sessions.told_of("failed", 1)
    assert failed[3] is True
    assert asyncio.get_running_loop().time() - began < 3
    assert relay.sessions.names(1) == ["failed"]


async def test_an_endpoint_that_is_not_one_fails_at_once(relay):
    relay.open(1, "nonsense")
    assert "host:port" in (await relay.sessions.told_of("failed", 1))[2]


@BOTH
async def test_a_bot_that_comes_up_late_is_found(relay, bots, protocol):
    bot = await bots(EchoServicer())
    await bot.die()
    relay.open(1, bot.address, protocol=protocol, ready_timeout_ms=8000)
    await asyncio.sleep(0)
    await bot.start()
    await relay.sessions.told_of("ready", 1)
    await relay.converse([1], frames=3)


@BOTH
async def test_a_bot_that_restarts_is_attached_again_and_told_that_it_resumes(relay, bots, protocol):
    starts: list[pb.Config] = []

    class Noting(EchoServicer):
        async def StreamCall(self, request_iterator, context):
            await super().StreamCall(request_iterator, _Tap(context, starts))

        async def Trunk(self, request_iterator, context):
            await super().Trunk(request_iterator, _Tap(context, starts))

    bot = await bots(Noting())
    for handle in (1, 2):
        relay.open(handle, bot.address, protocol=protocol, resume_token=f"token-{handle}", epoch=3)
        await relay.sessions.told_of("ready", handle)
    await bot.die()
    await relay.sessions.told_of("lost", 1)
    relay.speak({1: bytes(FRAME)})  # lost, without harm
    relay.bridge.send_digit(1, "9", end=True)
    await bot.start()
    for handle in (1, 2):
        await relay.sessions.until(lambda handle=handle: relay.sessions.names(handle).count("ready") == 2)
    await relay.converse([1, 2], frames=3)
    first, again = (config for config in starts if config.resume_token == "token-1")
    assert (first.resumed, again.resumed) == (False, True)
    assert again.epoch > first.epoch > 3 << 9
    assert relay.sessions.names(1) == ["ready", "lost", "ready"]


class _Tap:
    """A servicer context that notes every Config read."""

    def __init__(self, context, configs: list[pb.Config]) -> None:
        self._context = context
        self._configs = configs

    def __getattr__(self, name: str):
        return getattr(self._context, name)

    async def read(self):
        message = await self._context.read()
        if isinstance(message, pb.CallEvent) and message.HasField("config"):
            self._configs.append(message.config)
        if isinstance(message, pb.TrunkEvents):
            self._configs.extend(item.start.config for item in message.items if item.HasField("start"))
        return message


@BOTH
async def test_a_bot_that_stays_away_fails_after_the_reconnect_limit(relay, bots, protocol):
    bot = await bots(EchoServicer())
    relay.open(1, bot.address, protocol=protocol, reconnect_limit_ms=400)
    await relay.sessions.told_of("ready", 1)
    await bot.die()
    failed = await relay.sessions.told_of("failed", 1)
    assert failed[3] is False
    assert relay.sessions.names(1) == ["ready", "lost", "failed"]


@BOTH
async def test_a_bot_that_breaks_again_and_again_does_not_reconnect_for_ever(relay, protocol, sdk_bots):
    async def broken(call: Call) -> None:
        raise RuntimeError("always")

    relay.open(1, await sdk_bots(broken), protocol=protocol, reconnect_limit_ms=3000)
    failed = await relay.sessions.told_of("failed", 1)
    assert "always" in failed[2]
    assert 1 < relay.sessions.names(1).count("lost") < 10


@BOTH
async def test_ok_means_finished_even_while_the_caller_speaks(relay, protocol, sdk_bots):
    """grpc.aio turns OK into INTERNAL when a write meets a stream's end; that is no crash."""

    async def brief(call: Call) -> None:
        async for _ in call.frames():
            return

    address = await sdk_bots(brief)
    handles = range(1, 41)
    for handle in handles:
        relay.open(handle, address, protocol=protocol)
    for handle in handles:
        await relay.sessions.told_of("ready", handle)
    for _ in range(200):
        relay.speak(dict.fromkeys(handles, bytes(FRAME)))
        await asyncio.sleep(0)
    for handle in handles:
        await relay.sessions.told_of("finished", handle)
    names = [relay.sessions.names(handle) for handle in handles]
    assert all(told[0] == "ready" and told[-1] == "finished" and "lost" not in told for told in names)


class DeafTrunk(voicebot_pb2_grpc.VoiceBotServicer):
    """Accept every call, then stop reading and acking."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def Trunk(self, request_iterator, context):
        await context.write(pb.TrunkActions(items=[pb.TrunkAction(hello=pb.Hello())]))
        async for message in request_iterator:
            for item in message.items:
                if item.HasField("start"):
                    accept = pb.CallAction(accept=pb.Accept())
                    action = pb.HandleAction(handle=item.start.handle, action=accept)
                    await context.write(pb.TrunkActions(items=[pb.TrunkAction(action=action)]))
                    await self.release.wait()


async def test_a_trunk_that_stops_reading_drops_audio_not_calls_of_other_bots(relay, bots, monkeypatch):
    deaf = DeafTrunk()
    deaf_bot, echo_bot = await bots(deaf), await bots(EchoServicer())
    relay.open(1, deaf_bot.address)
    relay.open(2, echo_bot.address)
    for handle in (1, 2):
        await relay.sessions.told_of("ready", handle)
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.6
    while loop.time() < until:
        relay.speak({1: bytes(FRAME)})
        await relay.converse([2], frames=1)
    assert relay.bridge.counters.audio_dropped_unacked > 0
    deaf.release.set()


async def test_a_trunk_that_acks_nothing_is_given_up(relay, bots, monkeypatch):
    monkeypatch.setattr(trunk_module, "PROGRESS_TIMEOUT_S", 0.3)
    deaf = DeafTrunk()
    bot = await bots(deaf)
    relay.open(1, bot.address, reconnect_limit_ms=100)
    await relay.sessions.told_of("ready", 1)
    relay.speak({1: bytes(FRAME)})
    assert "acknowledged nothing" in (await relay.sessions.told_of("lost", 1))[2]
    assert relay.bridge.counters.trunks_stalled == 1
    deaf.release.set()


async def test_closing_with_a_bot_that_reads_nothing_takes_no_longer_than_its_limit(relay, bots):
    deaf = DeafTrunk()
    bot = await bots(deaf)
    relay.open(1, bot.address)
    await relay.sessions.told_of("ready", 1)
    async with asyncio.timeout(patient(8)):
        await relay.bridge.aclose()
    deaf.release.set()


async def test_a_server_without_the_service_fails_at_once(relay, bots):
    class Neither(voicebot_pb2_grpc.VoiceBotServicer):
        async def Trunk(self, request_iterator, context):
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no")

        async def StreamCall(self, request_iterator, context):
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no")

    bot = await bots(Neither())
    relay.open(1, bot.address, ready_timeout_ms=30_000)
    failed = await relay.sessions.told_of("failed", 1, timeout_s=5)
    assert "UNIMPLEMENTED" in failed[2]


async def test_a_declared_bot_whose_workers_are_busy_is_not_answered_into_silence(relay, old_bots):
    """A bot that once sent `sipgw-features` is ready when it sends metadata; its busy workers send none."""

    def declared(bot, events, context):
        context.send_initial_metadata((("sipgw-features", "clear"),))
        for _ in events:
            pass
        yield from ()

    bot = old_bots(declared, workers=1)
    relay.open(1, bot.address)
    assert (await relay.sessions.told_of("ready", 1))[2] is True
    relay.open(2, bot.address, ready_timeout_ms=400)
    failed = await relay.sessions.told_of("failed", 2)
    assert failed[3] is True
    assert relay.sessions.names(2) == ["failed"]


async def test_digits_pressed_while_the_bot_is_away_are_not_lost(relay, bots, sdk_bots):
    digits: asyncio.Queue[str] = asyncio.Queue()

    async def bot(call: Call) -> None:
        async for digit in call.digits():
            digits.put_nowait(digit)

    relay.open(2, await sdk_bots(bot))
    relay.bridge.send_digit(2, "3", end=False)
    relay.bridge.send_digit(2, "3", end=True)
    assert await asyncio.wait_for(digits.get(), patient(5)) == "3"


class Babbling(voicebot_pb2_grpc.VoiceBotServicer):
    """Accept, send everything that the contract forbids, and at last one good frame."""

    async def Trunk(self, request_iterator, context):
        await context.write(pb.TrunkActions(items=[pb.TrunkAction(hello=pb.Hello())]))
        rng = random.Random(1)
        async for message in request_iterator:
            for item in message.items:
                if item.HasField("start"):
                    good = item.start.handle
                    await context.write(pb.TrunkActions(items=[action_of(good, accept=pb.Accept())]))
                    for _ in range(500):
                        await context.write(pb.TrunkActions(items=[nonsense(rng, good)]))
                    frame = b"\x33" * FRAME
                    batch = pb.AudioBatch(format_id=1, frame_bytes=FRAME, handles=[good], audio=frame)
                    await context.write(pb.TrunkActions(items=[pb.TrunkAction(audio=batch)]))


def action_of(handle: int, **action) -> pb.TrunkAction:
    return pb.TrunkAction(action=pb.HandleAction(handle=handle, action=pb.CallAction(**action)))


def nonsense(rng: random.Random, good: int) -> pb.TrunkAction:
    stranger = rng.choice([0, 1, 0xFFFF, good ^ 1, good + 0x10000, rng.getrandbits(32)])
    size = rng.choice([0, 1, FRAME, 4000])
    count = rng.choice([0, 1, 3])
    match rng.randrange(6):
        case 0:
            audio = bytes(size * count + rng.choice([1, 7]))
            batch = pb.AudioBatch(format_id=1, frame_bytes=size, handles=[good] * count, audio=audio)
            return pb.TrunkAction(audio=batch)
        case 1:
            handles = [stranger if stranger != good else 0] * count
            batch = pb.AudioBatch(format_id=rng.choice([0, 1, 99]), frame_bytes=FRAME, handles=handles)
            batch.audio = bytes(FRAME * count)
            return pb.TrunkAction(audio=batch)
        case 2:
            return action_of(stranger if stranger != good else 0, hangup_now=pb.HangupNow(reason="x"))
        case 3:
            return pb.TrunkAction(end=pb.End(handle=stranger if stranger != good else 0))
        case 4:
            return pb.TrunkAction(ack=pb.Ack(items=rng.choice([0, 2**60])))
        case _:
            return rng.choice([pb.TrunkAction(), pb.TrunkAction(hello=pb.Hello()), action_of(good)])


async def test_what_a_bot_may_not_say_harms_no_call(relay, bots):
    """Wrong lengths, unknown handles, others' ends and absurd acks are dropped and counted."""
    bad, good = await bots(Babbling()), await bots(EchoServicer())
    relay.open(0, good.address)  # row 0: a handle of 0 must not find it
    await relay.sessions.told_of("ready", 0)
    relay.open(5, bad.address)
    heard = await relay.sessions.heard(5, FRAME)
    assert heard.endswith(b"\x33" * FRAME)
    assert relay.sessions.said[0] == b""
    assert relay.sessions.names(5) == ["ready"]
    assert relay.bridge.counters.audio_malformed > 0
    assert relay.bridge.counters.audio_unknown_handle > 0
    await relay.converse([0], frames=3)


async def test_a_crash_of_ours_fails_the_call_instead_of_leaving_it_in_silence(new_relay):
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        raise RuntimeError("bug")

    relay = new_relay(resolve=resolve)
    relay.open(1, "bots.example:9090")
    assert "internal error: bug" in (await relay.sessions.told_of("failed", 1))[2]


async def test_each_attach_is_a_span_of_the_calls_trace(relay, bots, monkeypatch):
    spans = []
    recorded = asyncio.Event()

    def record(*span: object) -> None:
        spans.append(span)
        recorded.set()

    monkeypatch.setattr(session_module, "record_span", record)
    bot = await bots(EchoServicer())
    await bot.die()
    relay.open(1, bot.address, ready_timeout_ms=8000)
    await asyncio.wait_for(recorded.wait(), patient(5))
    await bot.start()
    await relay.sessions.told_of("ready", 1)
    name, parent, start_ns, end_ns, attributes, error = spans[-1]
    assert (name, parent.trace_id, error) == ("bot attach", "0123456789abcdef0123456789abcdef", None)
    assert end_ns >= start_ns
    assert attributes["bot.address"] == bot.address
    assert spans[0][5], "the attempt before has its error"
