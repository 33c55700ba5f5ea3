"""Bots written before this gateway: sync grpcio with a thread pool, StreamCall only, no added field known."""

import asyncio
import threading

import structlog

from sipgw.api import voicebot_pb2 as pb
from sipgw.media_relay.streams.bot_call import BotProtocol

FRAME = 160


async def test_an_old_bot_echoes_and_never_meets_what_it_does_not_know(relay, old_bots):
    bot = old_bots()
    relay.open(1, bot.address)
    ready = await relay.sessions.told_of("ready", 1)
    assert ready[2] is False, "nothing but Config was written: unconfirmed"
    await relay.converse([1])
    relay.bridge.send_event(1, pb.CallEvent(hold=pb.Hold(on_hold=True)))
    relay.bridge.send_event(1, pb.CallEvent(answered=pb.Answered()))
    relay.bridge.send_digit(1, "7", end=False)
    relay.bridge.send_digit(1, "7", end=True)
    await relay.converse([1])
    relay.bridge.close(1, "bye")
    await relay.bridge.aclose()  # HANGUP is read, the bot ends the stream
    assert {event.WhichOneof("payload") for event in bot.seen} == {"config", "audio", "dtmf", "control"}
    assert all(event.call_id == "call-1" for event in bot.seen)
    assert [event.dtmf.end for event in bot.seen if event.HasField("dtmf")] == [False, True]
    audio = [event.audio for event in bot.seen if event.HasField("audio")]
    assert [chunk.timestamp for chunk in audio] == [chunk.seq * FRAME for chunk in audio]
    assert bot.seen[-1].control.type == pb.ControlEvent.HANGUP
    assert relay.bridge.counters.events_dropped_undeclared == 2


async def test_an_old_bot_that_speaks_first_is_confirmed(relay, old_bots):
    def greet(bot, events, context):
        yield pb.CallAction(audio=pb.AudioChunk(data=b"\x11" * FRAME))
        for _ in events:
            pass

    bot = old_bots(greet)
    relay.open(1, bot.address, silent_after_ms=50)
    assert (await relay.sessions.told_of("ready", 1))[2] is True
    assert await relay.sessions.heard(1, FRAME) == b"\x11" * FRAME


async def test_the_eleventh_call_of_ten_workers_is_told_silent_and_the_log_says_why(relay, old_bots):
    bot = old_bots(workers=10)
    with structlog.testing.capture_logs() as logs:
        for handle in range(1, 12):
            relay.open(handle, bot.address, silent_after_ms=2000)
        for handle in range(1, 12):
            await relay.sessions.told_of("ready", handle)
        for _ in range(5):
            relay.speak({handle: bytes(FRAME) for handle in range(1, 12)})
        silent = [entry async for entry in _silences(relay, 1)]
    assert len(silent) == 1
    served = set(range(1, 12)) - {silent[0][1]}
    assert all(relay.sessions.said[handle] for handle in served)
    line = next(entry for entry in logs if entry["event"] == "bot_silent")
    assert "workers" in line["why"]
    assert (line["calls_on_bot"], line["after_ms"], line["log_level"]) == (11, 2000, "warning")


async def _silences(relay, count):
    await relay.sessions.until(lambda: sum(e[0] == "silent" for e in relay.sessions.told) >= count)
    for entry in relay.sessions.told:
        if entry[0] == "silent":
            yield entry


async def test_first_use_of_an_added_action_declares_the_bot(relay, old_bots):
    def marks(bot, events, context):
        next(events)
        yield pb.CallAction(mark=pb.Mark(name="begun"))
        bot.seen.extend(events)

    bot = old_bots(marks)
    relay.open(1, bot.address)
    await relay.sessions.told_of("mark", 1)
    relay.bridge.send_event(1, pb.CallEvent(played=pb.Played(mark="begun", played_ms=20)))
    relay.bridge.close(1, "bye")
    await relay.bridge.aclose()
    assert [event.WhichOneof("payload") for event in bot.seen] == ["played", "control"]


async def test_hangup_follows_all_of_a_20_s_burst(relay, old_bots):
    """One chunk of 20 s and HANGUP: nothing is cut, nothing is ahead of the speech."""
    burst = bytes(range(160)) * 1000

    def announce(bot, events, context):
        yield pb.CallAction(audio=pb.AudioChunk(data=burst))
        yield pb.CallAction(control=pb.BotControl(type=pb.BotControl.HANGUP))
        for _ in events:
            pass

    bot = old_bots(announce)
    relay.sessions.plays = False
    relay.open(1, bot.address)
    consumed = 0
    while consumed < len(burst):
        assert "hangup" not in relay.sessions.names(1)
        unplayed = len(await relay.sessions.heard(1, min(len(burst), consumed + 8000))) - consumed
        assert unplayed <= 65536
        consumed += min(unplayed, 8000)
        relay.sessions.consume(1, consumed)
    assert (await relay.sessions.told_of("hangup", 1))[2:] == ("", False)
    assert bytes(relay.sessions.said[1]) == burst


async def test_reading_stops_at_the_playout_limit_and_the_bots_write_blocks(relay, old_bots):
    """The bot sends 60 s of speech as fast as it can. While nothing is played, its own write blocks."""
    written = [0]

    def talk(bot, events, context):
        for _ in range(60 * 50 * 20):
            written[0] += 1
            yield pb.CallAction(audio=pb.AudioChunk(data=bytes(FRAME)))

    bot = old_bots(talk)
    relay.sessions.plays = False
    relay.open(1, bot.address)
    await relay.sessions.heard(1, 65536)
    relay.open(2, bot.address)  # another call on the same connection is served meanwhile
    await relay.sessions.heard(2, 65536)
    assert len(relay.sessions.said[1]) == 65536
    assert written[0] < 2 * 60 * 50 * 20
    relay.sessions.consume(1, 1600)
    await relay.sessions.heard(1, 65536 + 1600)
    assert len(relay.sessions.said[1]) == 65536 + 1600


async def test_a_stream_that_stops_reading_does_not_silence_the_others(relay, old_bots):
    """Call 1's bot never reads: megabytes later the other call on the same connection still echoes."""
    never = threading.Event()

    def deaf_or_echo(bot, events, context):
        first = next(events)
        if first.call_id == "call-1":
            yield pb.CallAction(audio=pb.AudioChunk(data=b"\x01"))
            never.wait(30)
            return
        for event in events:
            if event.HasField("audio"):
                yield pb.CallAction(audio=pb.AudioChunk(data=event.audio.data))

    bot = old_bots(deaf_or_echo)
    for handle in (1, 2):
        relay.open(handle, bot.address)
        await relay.sessions.told_of("ready", handle)
    for _ in range(150):
        said = len(relay.sessions.said[2])
        for _ in range(100):  # 15,000 frames, 2.4 MB for call 1
            relay.speak({1: bytes(FRAME)})
        relay.speak({2: b"\x22" * FRAME})
        heard = await relay.sessions.heard(2, said + FRAME)
        assert heard[said:] == b"\x22" * FRAME
    assert relay.bridge.counters.audio_dropped_unacked > 10_000
    never.set()


async def test_a_bot_that_says_much_and_ends_is_heard_to_the_end_while_the_caller_speaks(relay, old_bots):
    """The stream ends long before the speech is played, and callers' audio can't be written any more."""
    second = b"\x55" * 8000

    def says_20_s(_bot, events, _context):
        next(events)
        for _ in range(20):
            yield pb.CallAction(audio=pb.AudioChunk(data=second))

    relay.sessions.plays = False
    relay.open(1, old_bots(says_20_s).address, protocol=BotProtocol.STREAM_CALL)
    await relay.sessions.told_of("ready", 1)
    for heard in range(8000, 160_001, 8000):
        for _ in range(5):
            relay.speak({1: b"\x7f" * FRAME})
            await asyncio.sleep(0.002)
        await relay.sessions.heard(1, heard)
        relay.sessions.consume(1, heard)
    await relay.sessions.told_of("finished", 1)
    assert relay.sessions.names(1) == ["ready", "finished"]
