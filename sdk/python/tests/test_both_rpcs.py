"""The SDK over real gRPC on loopback, driven by a raw client that speaks the contract."""

import asyncio

import grpc
import grpc.aio
import numpy as np
import pytest

from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.bot import BotServer, Call, CallEnded, Dtmf, ReplayMark
from sipgw.bot.echo import EchoServicer
from sipgw.bot.server import GrpcListener

FRAME = 160
PCMU = pb.AudioFormat(id=1, codec=pb.PCMU, sample_rate=8000, frame_ms=20, frame_bytes=FRAME)


async def echo(call: Call) -> None:
    async for frame in call.frames():
        await call.play_raw(frame.data)


def frame_of(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, FRAME, dtype=np.uint8).tobytes()


class RawTrunk:
    """A gateway's end of a trunk, by hand."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stream = voicebot_pb2_grpc.VoiceBotStub(channel).Trunk()
        self.items: list[pb.TrunkAction] = []

    async def send(self, *items: pb.TrunkEvent) -> None:
        await self.stream.write(pb.TrunkEvents(items=items))

    async def hello(self) -> pb.Hello:
        await self.send(pb.TrunkEvent(hello=pb.Hello(formats=[PCMU])))
        return (await self.next("hello")).hello

    async def start(self, handle: int, credit: int = 65536, **facts: object) -> None:
        config = pb.Config(sample_rate=8000, codec=pb.PCMU, frame_ms=20, features=["mark", "clear"])
        start = pb.Start(
            handle=handle, call_id=f"call-{handle}", epoch=1, format=PCMU, config=config, credit_bytes=credit
        )
        await self.send(pb.TrunkEvent(start=start))

    async def audio(self, frames: dict[int, bytes], seq: int = 0) -> None:
        batch = pb.AudioBatch(
            format_id=1,
            frame_bytes=FRAME,
            handles=list(frames),
            seq=[seq] * len(frames),
            audio=b"".join(frames.values()),
        )
        await self.send(pb.TrunkEvent(audio=batch))

    async def next(self, kind: str) -> pb.TrunkAction:
        """Return the next item of a kind; others are kept in `items`."""
        while True:
            for index, item in enumerate(self.items):
                if item.WhichOneof("item") == kind:
                    return self.items.pop(index)
            message = await self.stream.read()
            assert message is not grpc.aio.EOF, f"the trunk ended while waiting for {kind}"
            self.items.extend(message.items)

    async def heard(self, handle: int, size: int) -> bytes:
        """Return the first `size` bytes or more of speech on a handle."""
        said = b""
        while len(said) < size:
            batch = (await self.next("audio")).audio
            for index, one in enumerate(batch.handles):
                if one == handle:
                    said += batch.audio[index * batch.frame_bytes : (index + 1) * batch.frame_bytes]
        return said


class Serving:
    """A bot on a free port, and a channel to it."""

    def __init__(self, bot: object, **options: object) -> None:
        if callable(bot):
            self.server = BotServer(bot, host="127.0.0.1", port=0, **options)  # type: ignore[arg-type]
        else:
            self.server = GrpcListener(bot, "127.0.0.1:0")  # type: ignore[arg-type]

    async def __aenter__(self) -> grpc.aio.Channel:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{await self.server.start()}")
        return self.channel

    async def __aexit__(self, *exc: object) -> None:
        await self.channel.close()
        await (self.server.stop(0) if isinstance(self.server, BotServer) else self.server.stop())


@pytest.fixture(params=["sdk", "builtin"])
def echo_bot(request: pytest.FixtureRequest) -> object:
    return echo if request.param == "sdk" else EchoServicer()


async def test_stream_call_echo_is_byte_exact(echo_bot):
    async with Serving(echo_bot) as channel:
        stream = voicebot_pb2_grpc.VoiceBotStub(channel).StreamCall()
        await stream.write(pb.CallEvent(call_id="c", config=pb.Config(sample_rate=8000, codec=pb.PCMU)))
        metadata = dict(await stream.initial_metadata())
        assert "clear" in metadata["sipgw-features"]
        for seq in range(50):
            chunk = pb.AudioChunk(seq=seq, timestamp=seq * FRAME, data=frame_of(seq))
            await stream.write(pb.CallEvent(call_id="c", audio=chunk))
            assert (await stream.read()).audio.data == frame_of(seq)
        await stream.write(pb.CallEvent(call_id="c", control=pb.ControlEvent(type=pb.ControlEvent.HANGUP)))
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK


async def test_trunk_echo_is_byte_exact_for_every_call(echo_bot):
    async with Serving(echo_bot) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        for handle in (7, 8, 9):
            await trunk.start(handle)
            assert (await trunk.next("action")).action.action.HasField("accept")
        for seq in range(20):
            frames = {handle: frame_of(seq * 10 + handle) for handle in (7, 8, 9)}
            await trunk.audio(frames, seq)
            heard = {}
            while len(heard) < 3:
                batch = (await trunk.next("audio")).audio
                for index, handle in enumerate(batch.handles):
                    heard[handle] = batch.audio[index * FRAME : (index + 1) * FRAME]
            assert heard == frames


async def test_frames_that_were_missed_are_marked():
    heard: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
    marks: asyncio.Queue[int] = asyncio.Queue()

    async def bot(call: Call) -> None:
        watching = asyncio.create_task(watch(call))
        async for frame in call.frames():
            heard.put_nowait((frame.seq, frame.replay))
        await watching

    async def watch(call: Call) -> None:
        async for event in call.events():
            if isinstance(event, ReplayMark):
                marks.put_nowait(event.until_seq)

    mark = pb.CallEvent(replay_mark=pb.ReplayMark(until_seq=6))
    async with Serving(bot) as channel:
        stream = voicebot_pb2_grpc.VoiceBotStub(channel).StreamCall()
        await stream.write(pb.CallEvent(call_id="c", config=pb.Config(sample_rate=8000, codec=pb.PCMU)))
        assert "replay" in dict(await stream.initial_metadata())["sipgw-features"].split(",")
        await stream.write(mark)
        trunk = RawTrunk(channel)
        assert "replay" in (await trunk.hello()).features
        await trunk.start(1)
        await trunk.send(pb.TrunkEvent(event=pb.HandleEvent(handle=1, event=mark)))
        for seq in range(5, 9):
            chunk = pb.AudioChunk(seq=seq, data=frame_of(seq))
            await stream.write(pb.CallEvent(call_id="c", audio=chunk))
            flags = [pb.AudioBatch.REPLAY if seq <= 6 else pb.AudioBatch.NONE]
            batch = pb.AudioBatch(format_id=1, frame_bytes=FRAME, handles=[1], seq=[seq], flags=flags)
            batch.audio = frame_of(seq)
            await trunk.send(pb.TrunkEvent(audio=batch))
        async with asyncio.timeout(5):
            got = sorted([await heard.get() for _ in range(8)])
            assert [await marks.get() for _ in range(2)] == [6, 6]
    assert got == sorted([(5, True), (6, True), (7, False), (8, False)] * 2)


async def test_the_echo_bot_wants_no_replay():
    async with Serving(EchoServicer()) as channel:
        assert "replay" not in (await RawTrunk(channel).hello()).features
        stream = voicebot_pb2_grpc.VoiceBotStub(channel).StreamCall()
        await stream.write(pb.CallEvent(call_id="c", config=pb.Config(sample_rate=8000, codec=pb.PCMU)))
        assert "replay" not in dict(await stream.initial_metadata())["sipgw-features"].split(",")


async def test_items_are_acked_within_100_ms(echo_bot):
    async with Serving(echo_bot) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        await trunk.start(1)
        await trunk.audio({1: frame_of(1)})
        async with asyncio.timeout(5):
            while (await trunk.next("ack")).ack.items < 3:
                pass
        # An ack is not acked: nothing more comes.
        await trunk.send(pb.TrunkEvent(ack=pb.Ack(items=1)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await trunk.next("ack")


async def test_play_waits_for_credit_and_a_burst_arrives_whole():
    burst = np.random.default_rng(1).integers(0, 256, FRAME * 1000, dtype=np.uint8).tobytes()
    said = asyncio.Event()

    async def bot(call: Call) -> None:
        await call.play_raw(burst)
        said.set()
        await call.wait_ended()

    async with Serving(bot) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        await trunk.start(1, credit=64000)
        heard = await trunk.heard(1, 64000)
        assert len(heard) == 64000
        assert not said.is_set()
        while len(heard) < len(burst):
            assert not trunk.items or all(item.WhichOneof("item") != "audio" for item in trunk.items)
            credit = pb.Credit(handle=1, consumed_bytes=len(heard))
            await trunk.send(pb.TrunkEvent(ack=pb.Ack(credits=[credit])))
            heard += await trunk.heard(1, min(64000, len(burst) - len(heard)))
        assert heard == burst
        await asyncio.wait_for(said.wait(), 5)


async def test_a_handler_that_fails_ends_only_its_call(caplog: pytest.LogCaptureFixture):
    async def bot(call: Call) -> None:
        if call.call_id == "call-1":
            raise RuntimeError("no such tune")
        await echo(call)

    async with Serving(bot) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        await trunk.start(1)
        await trunk.start(2)
        end = (await trunk.next("end")).end
        assert (end.handle, end.failed, end.reason) == (1, True, "RuntimeError: no such tune")
        await trunk.audio({2: frame_of(2)})
        assert await trunk.heard(2, FRAME) == frame_of(2)
    assert "no such tune" in caplog.text


async def test_a_failing_handler_ends_stream_call_with_an_error():
    async def bot(call: Call) -> None:
        raise RuntimeError("no such tune")

    async with Serving(bot) as channel:
        stream = voicebot_pb2_grpc.VoiceBotStub(channel).StreamCall()
        await stream.write(pb.CallEvent(call_id="c", config=pb.Config(sample_rate=8000)))
        with pytest.raises(grpc.aio.AioRpcError, match="no such tune"):
            await stream.read()


async def test_returning_means_finished():
    async def bot(call: Call) -> None:
        await call.play(np.zeros(FRAME, dtype=np.int16))

    async with Serving(bot) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        await trunk.start(1)
        assert await trunk.heard(1, FRAME) == b"\xff" * FRAME
        end = (await trunk.next("end")).end
        assert (end.handle, end.failed) == (1, False)


async def test_one_slow_handler_does_not_stop_the_others():
    async def bot(call: Call) -> None:
        if call.call_id == "call-1":
            await call.wait_ended()  # it never reads the caller's audio
        await echo(call)

    async with Serving(bot, audio_queue_ms=200) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        await trunk.start(1)
        await trunk.start(2)
        for seq in range(100):
            await trunk.audio({1: frame_of(0), 2: frame_of(seq)}, seq)
            assert await trunk.heard(2, FRAME) == frame_of(seq)


async def test_a_key_press_is_one_dtmf_event():
    digits: list[str] = []

    async def bot(call: Call) -> None:
        digits.extend([event.digit async for event in call.events() if isinstance(event, Dtmf)])

    async with Serving(bot) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        await trunk.start(1)
        for digit in "42":
            for end in (False, True):
                event = pb.CallEvent(dtmf=pb.DtmfEvent(digit=digit, end=end))
                await trunk.send(pb.TrunkEvent(event=pb.HandleEvent(handle=1, event=event)))
        await trunk.send(pb.TrunkEvent(end=pb.End(handle=1, reason="hangup")))
        await trunk.start(2)
        await trunk.next("action")
        await trunk.next("action")
    assert digits == ["4", "2"]


async def test_play_after_the_call_raises_call_ended():
    outcome: asyncio.Queue[str] = asyncio.Queue()

    async def bot(call: Call) -> None:
        reason = await call.wait_ended()
        try:
            await call.play(np.zeros(10, dtype=np.int16))
        except CallEnded:
            outcome.put_nowait(reason)
            raise

    async with Serving(bot) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        await trunk.start(1)
        await trunk.send(pb.TrunkEvent(end=pb.End(handle=1, reason="caller hung up")))
        assert await asyncio.wait_for(outcome.get(), 5) == "caller hung up"


async def test_clear_stops_a_waiting_play_and_tells_what_was_heard():
    results: list[object] = []

    async def bot(call: Call) -> None:
        speaking = asyncio.create_task(call.play_raw(bytes(FRAME * 100)))
        await anext(call.digits())
        results.append(await call.clear())
        results.append(await speaking)

    async with Serving(bot) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        await trunk.start(1, credit=FRAME * 10)
        await trunk.next("action")
        await trunk.heard(1, FRAME * 10)
        press = pb.CallEvent(dtmf=pb.DtmfEvent(digit="1", end=True))
        await trunk.send(pb.TrunkEvent(event=pb.HandleEvent(handle=1, event=press)))
        clear = (await trunk.next("action")).action.action.clear
        played = pb.Played(mark=clear.name, played_ms=120, cleared=True, dropped_ms=80)
        event = pb.HandleEvent(handle=1, event=pb.CallEvent(played=played))
        await trunk.send(pb.TrunkEvent(event=event))
        assert not (await trunk.next("end")).end.failed
    heard, whole = results
    assert (heard.played_ms, heard.dropped_ms, whole) == (120, 80, False)


async def test_stream_call_speech_is_paced_by_what_was_played():
    async def bot(call: Call) -> None:
        await call.play_raw(bytes(8000 * 20))  # 20 s

    async with Serving(bot) as channel:
        stream = voicebot_pb2_grpc.VoiceBotStub(channel).StreamCall()
        config = pb.Config(sample_rate=8000, codec=pb.PCMU, frame_ms=20, features=["mark", "played"])
        await stream.write(pb.CallEvent(call_id="c", config=config))
        said = played = 0
        marks: list[tuple[str, int]] = []
        while said < 160_000:
            assert said <= played + 32_000, "never more than 4 s ahead of the ear"
            if said == played + 32_000 and marks:
                name, played = marks.pop(0)
                await stream.write(pb.CallEvent(call_id="c", played=pb.Played(mark=name)))
            action = await stream.read()
            said += len(action.audio.data)
            if action.HasField("mark"):
                marks.append((action.mark.name, said))
        while (action := await stream.read()) is not grpc.aio.EOF:
            assert action.HasField("mark")
        assert await stream.code() is grpc.StatusCode.OK


async def test_more_calls_than_max_are_refused():
    async with Serving(echo, max_calls=1) as channel:
        trunk = RawTrunk(channel)
        assert (await trunk.hello()).max_calls == 1
        await trunk.start(1)
        await trunk.start(2)
        end = (await trunk.next("end")).end
        assert (end.handle, end.failed) == (2, True)


async def test_the_highest_epoch_of_a_call_wins():
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def bot(call: Call) -> None:
        ended.put_nowait(await call.wait_ended())

    async with Serving(bot) as channel:
        trunk = RawTrunk(channel)
        await trunk.hello()
        for handle, epoch in ((1, 5), (2, 6), (3, 4)):
            start = pb.Start(handle=handle, call_id="same", format=PCMU, config=pb.Config(epoch=epoch))
            await trunk.send(pb.TrunkEvent(start=start))
        assert await asyncio.wait_for(ended.get(), 5) == "attached again"
        ends = {(await trunk.next("end")).end.handle for _ in range(2)}
        assert ends == {1, 3}


async def test_a_taken_port_is_told():
    async with Serving(echo) as _:
        pass
    first = BotServer(echo, host="127.0.0.1", port=0)
    port = await first.start()
    from sipgw.bot import ListenFailed

    with pytest.raises(ListenFailed, match=str(port)):
        await BotServer(echo, host="127.0.0.1", port=port).start()
    await first.stop(0)
