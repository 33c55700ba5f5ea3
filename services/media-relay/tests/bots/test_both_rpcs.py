"""Calls over real gRPC: trunk, StreamCall, the fallback between them, and what both carry."""

import asyncio

import grpc
import grpc.aio
import numpy as np
import pytest
import structlog.testing

from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.bot import Call, Dtmf
from sipgw.bot.echo import EchoServicer
from sipgw.media_relay.streams.bot_call import BotProtocol
from sipgw.runtime.patience import patient

FRAME = 160


class NoTrunk(EchoServicer):
    """Answer UNIMPLEMENTED on Trunk, and count the attempts."""

    def __init__(self) -> None:
        self.asked = 0

    async def Trunk(self, request_iterator, context):
        self.asked += 1
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no trunk here")


@pytest.mark.parametrize("protocol", [BotProtocol.TRUNK, BotProtocol.STREAM_CALL])
async def test_echo_is_byte_exact_for_every_call(relay, bots, protocol):
    bot = await bots(EchoServicer())
    for handle in (1, 2, 0x10003):
        relay.open(handle, bot.address, protocol=protocol)
    for handle in (1, 2, 0x10003):
        ready = await relay.sessions.told_of("ready", handle)
        assert ready[2:] == (True, bot.address, protocol.value)
    await relay.converse((1, 2, 0x10003))
    assert (relay.sessions.columns > 0) == (protocol is BotProtocol.TRUNK)
    assert len(relay.rest) == 0


async def test_rows_that_are_not_open_are_handed_on(relay, bots):
    bot = await bots(EchoServicer())
    relay.open(1, bot.address)
    await relay.sessions.told_of("ready", 1)
    relay.speak({1: bytes(FRAME), 5: b"\x05" * FRAME})
    assert relay.rest.rows.tolist() == [5]
    assert relay.rest.payload.tobytes() == b"\x05" * FRAME


async def test_a_bot_without_trunk_gets_stream_call_and_is_remembered(relay, bots):
    servicer = NoTrunk()
    bot = await bots(servicer)
    for handle in range(1, 6):
        relay.open(handle, bot.address)
        assert (await relay.sessions.told_of("ready", handle))[4] == "stream_call"
    assert servicer.asked == 1
    await relay.converse(range(1, 6), frames=5)


async def test_trunk_only_fails_on_a_bot_without_it(relay, bots):
    bot = await bots(NoTrunk())
    relay.open(1, bot.address, protocol=BotProtocol.TRUNK, ready_timeout_ms=60_000)  # told at once
    failed = await relay.sessions.told_of("failed", 1)
    assert "no Trunk" in failed[2]
    assert failed[3] is True


@pytest.mark.parametrize("protocol", [BotProtocol.TRUNK, BotProtocol.STREAM_CALL])
async def test_the_sdk_sees_the_facts_and_the_events_and_acts(relay, protocol, sdk_bots):
    seen: dict[str, object] = {}

    async def bot(call: Call) -> None:
        seen.update(id=call.call_id, from_=call.from_, to=call.to, config=call.config)
        async for event in call.events():
            if isinstance(event, Dtmf) and event.digit == "#":
                break
            seen.setdefault("events", []).append(event)
        await call.send_dtmf("12", duration_ms=80)
        await call.mark("here")
        await call.transfer("sip:300@example.org")

    address = await sdk_bots(bot)
    beside = {"from_parameters": {"verstat": "Passed"}, "to_parameters": {"npdi": ""}}
    relay.open(
        1,
        address,
        protocol=protocol,
        sip_headers={"X-Customer": "42"},
        route="sales",
        resume_token="token",
        **beside,
    )
    await relay.sessions.told_of("ready", 1)
    relay.bridge.send_event(1, pb.CallEvent(hold=pb.Hold(on_hold=True)))
    for digit in "5#":
        relay.bridge.send_digit(1, digit, end=False)
        relay.bridge.send_digit(1, digit, end=True)
    await relay.sessions.told_of("finished", 1)
    assert relay.sessions.told[1:] == [
        ("send_dtmf", 1, "12", 80),
        ("mark", 1, "here"),
        ("transfer", 1, "sip:300@example.org", False),
        ("finished", 1),
    ]
    config = seen["config"]
    assert (seen["id"], seen["from_"], seen["to"]) == ("call-1", "100", "200")
    assert (config.route, config.sip_headers, config.resume_token) == ("sales", {"X-Customer": "42"}, "token")
    assert (config.from_parameters, config.to_parameters) == ({"verstat": "Passed"}, {"npdi": ""})
    assert config.traceparent.startswith("00-0123456789abcdef")
    assert [type(event).__name__ for event in seen["events"]] == ["Hold", "DtmfDown", "Dtmf", "DtmfDown"]


@pytest.mark.parametrize("protocol", [BotProtocol.TRUNK, BotProtocol.STREAM_CALL])
async def test_a_closed_call_ends_the_bots_handler(relay, protocol, sdk_bots):
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def bot(call: Call) -> None:
        ended.put_nowait(await call.wait_ended())

    address = await sdk_bots(bot)
    relay.open(1, address, protocol=protocol)
    await relay.sessions.told_of("ready", 1)
    relay.bridge.close(1, "bye")
    reason = await asyncio.wait_for(ended.get(), patient(5))
    assert reason == ("bye" if protocol is BotProtocol.TRUNK else "hangup")
    assert relay.sessions.names(1) == ["ready"]


@pytest.mark.parametrize("protocol", [BotProtocol.TRUNK, BotProtocol.STREAM_CALL])
async def test_a_burst_of_20_s_passes_whole_by_credit(relay, protocol, sdk_bots):
    burst = np.random.default_rng(7).integers(0, 256, 8000 * 20, dtype=np.uint8).tobytes()

    async def bot(call: Call) -> None:
        await call.play_raw(burst)
        await call.hangup()

    address = await sdk_bots(bot)
    relay.sessions.plays = False
    relay.open(1, address, protocol=protocol)
    consumed = 0

    def marks() -> list[tuple]:
        return [entry for entry in relay.sessions.told if entry[0] == "mark"]

    while consumed < len(burst):
        size = min(len(burst), consumed + 8000)
        # A mark may come behind its audio, and the bot waits for the answer: either is progress.
        await relay.sessions.until(lambda size=size: len(relay.sessions.said[1]) >= size or bool(marks()))
        unplayed = len(relay.sessions.said[1]) - consumed
        assert unplayed <= 65536
        consumed += unplayed
        relay.sessions.consume(1, consumed)
        for entry in marks():
            relay.sessions.told.remove(entry)
            if protocol is BotProtocol.STREAM_CALL:
                relay.bridge.send_event(1, pb.CallEvent(played=pb.Played(mark=entry[2])))
    assert bytes(relay.sessions.said[1]) == burst
    await relay.sessions.told_of("hangup", 1)


async def test_a_row_used_again_never_hears_the_old_calls_bot(relay, bots):
    """After a hang-up the row has a new call: late speech of the old bot is dropped and counted."""
    late = asyncio.Event()
    items: asyncio.Queue[pb.TrunkEvent] = asyncio.Queue()

    class Late(voicebot_pb2_grpc.VoiceBotServicer):
        async def Trunk(self, request_iterator, context):
            first = None
            async for message in request_iterator:
                for item in message.items:
                    items.put_nowait(item)
                    if item.HasField("hello"):
                        await context.write(pb.TrunkActions(items=[pb.TrunkAction(hello=pb.Hello())]))
                    if item.HasField("start"):
                        handle = item.start.handle
                        accept = pb.CallAction(accept=pb.Accept())
                        action = pb.TrunkAction(action=pb.HandleAction(handle=handle, action=accept))
                        await context.write(pb.TrunkActions(items=[action]))
                        if first is None:
                            first = handle
                            continue
                        batch = pb.AudioBatch(
                            format_id=1,
                            frame_bytes=FRAME,
                            handles=[first, handle],
                            audio=b"\x01" * FRAME + b"\x02" * FRAME,
                        )
                        await context.write(pb.TrunkActions(items=[pb.TrunkAction(audio=batch)]))
                        late.set()

    bot = await bots(Late())
    relay.open(0x10001, bot.address)
    await relay.sessions.told_of("ready", 0x10001)
    relay.bridge.close(0x10001, "bye")
    relay.open(0x20001, bot.address)
    assert await relay.sessions.heard(0x20001, FRAME) == b"\x02" * FRAME
    assert relay.sessions.said[0x10001] == b""
    assert relay.bridge.counters.audio_unknown_handle == 1


async def test_the_log_of_a_trunk_names_the_bots_instance_as_the_bots(relay, bots):
    class Named(voicebot_pb2_grpc.VoiceBotServicer):
        async def Trunk(self, request_iterator, context):
            hello = pb.TrunkAction(hello=pb.Hello(instance="bot-7"))
            await context.write(pb.TrunkActions(items=[hello]))
            async for message in request_iterator:
                for item in message.items:
                    if item.HasField("start"):
                        accept = pb.CallAction(accept=pb.Accept())
                        action = pb.HandleAction(handle=item.start.handle, action=accept)
                        await context.write(pb.TrunkActions(items=[pb.TrunkAction(action=action)]))

    bot = await bots(Named())
    with structlog.testing.capture_logs() as logs:
        relay.open(1, bot.address)
        await relay.sessions.told_of("ready", 1)
    (line,) = [log for log in logs if log["event"] == "trunk_opened"]
    assert (line["bot"], line["bot_instance"]) == (bot.address, "bot-7")
    assert "instance" not in line  # `instance` is the relay's own, in all its log lines
