"""A call whose gateway process dies or hands it over is one conversation: same Call, same handler."""

import asyncio
import contextlib

import grpc
import grpc.aio
import numpy as np
import pytest

from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.bot import BotServer, Call, CallEnded, Dtmf, Resumed
from sipgw.bot.testing import TestCaller

FRAME = 160
PCMU = pb.AudioFormat(id=1, codec=pb.PCMU, sample_rate=8000, frame_ms=20, frame_bytes=FRAME)
FEATURES = ["clear", "mark", "played", "resume"]


def config_of(epoch: int, *, resumed: bool = False, token: str = "t1") -> pb.Config:
    return pb.Config(
        sample_rate=8000, frame_ms=20, features=FEATURES, resume_token=token, epoch=epoch, resumed=resumed
    )


class Gateway:
    """One stream of one gateway process to the bot, by hand. `said` is the speech that came on it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = voicebot_pb2_grpc.VoiceBotStub(channel)
        self.said = bytearray()
        self.end: object = None
        self.changed = asyncio.Event()

    async def until(self, is_so) -> None:
        async with asyncio.timeout(5):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()

    async def heard(self, size: int) -> bytes:
        await self.until(lambda: len(self.said) >= size)
        return bytes(self.said)


class TrunkGateway(Gateway):
    async def begin(self, epoch: int, *, resumed: bool = False, token: str = "t1") -> None:
        self.stream = self.stub.Trunk()
        self.reader = asyncio.create_task(self._read())
        await self.send(pb.TrunkEvent(hello=pb.Hello(formats=[PCMU], features=FEATURES)))
        config = config_of(epoch, resumed=resumed, token=token)
        start = pb.Start(handle=7, call_id="c", epoch=epoch, format=PCMU, config=config, credit_bytes=65536)
        await self.send(pb.TrunkEvent(start=start))

    async def send(self, *items: pb.TrunkEvent) -> None:
        await self.stream.write(pb.TrunkEvents(items=items))

    async def audio(self, data: bytes, seq: int) -> None:
        batch = pb.AudioBatch(format_id=1, frame_bytes=FRAME, handles=[7], seq=[seq], audio=data)
        await self.send(pb.TrunkEvent(audio=batch))

    async def press(self, digit: str) -> None:
        event = pb.CallEvent(dtmf=pb.DtmfEvent(digit=digit, end=True))
        await self.send(pb.TrunkEvent(event=pb.HandleEvent(handle=7, event=event)))

    async def played(self, size: int) -> None:
        await self.send(pb.TrunkEvent(ack=pb.Ack(credits=[pb.Credit(handle=7, consumed_bytes=size)])))

    async def move_away(self) -> None:
        await self.send(pb.TrunkEvent(end=pb.End(handle=7, moved=True)))

    async def hang_up(self) -> None:
        await self.send(pb.TrunkEvent(end=pb.End(handle=7, reason="hangup")))

    def die(self) -> None:
        self.stream.cancel()
        self.reader.cancel()

    @property
    def is_superseded(self) -> bool:
        return isinstance(self.end, pb.End) and self.end.superseded

    @property
    def is_finished(self) -> bool:
        return isinstance(self.end, pb.End) and not self.end.failed

    async def _read(self) -> None:
        while (message := await self.stream.read()) is not grpc.aio.EOF:
            for item in message.items:
                if item.HasField("audio"):
                    self.said += item.audio.audio
                elif item.HasField("end"):
                    self.end = item.end
            self.changed.set()


class StreamCallGateway(Gateway):
    async def begin(self, epoch: int, *, resumed: bool = False, token: str = "t1") -> None:
        self.stream = self.stub.StreamCall()
        self.marks: list[tuple[int, str]] = []
        config = config_of(epoch, resumed=resumed, token=token)
        await self.stream.write(pb.CallEvent(call_id="c", config=config))
        self.reader = asyncio.create_task(self._read())

    async def audio(self, data: bytes, seq: int) -> None:
        await self.stream.write(pb.CallEvent(audio=pb.AudioChunk(seq=seq, data=data)))

    async def press(self, digit: str) -> None:
        await self.stream.write(pb.CallEvent(dtmf=pb.DtmfEvent(digit=digit, end=True)))

    async def played(self, size: int) -> None:
        for at, name in self.marks:
            if at <= size:
                await self.stream.write(pb.CallEvent(played=pb.Played(mark=name)))

    async def move_away(self) -> None:
        await self.stream.done_writing()

    async def hang_up(self) -> None:
        await self.stream.write(pb.CallEvent(control=pb.ControlEvent()))

    def die(self) -> None:
        self.stream.cancel()
        self.reader.cancel()

    @property
    def is_superseded(self) -> bool:
        return self.end == (grpc.StatusCode.ABORTED, "superseded")

    @property
    def is_finished(self) -> bool:
        return isinstance(self.end, tuple) and self.end[0] is grpc.StatusCode.OK

    async def _read(self) -> None:
        try:
            while (action := await self.stream.read()) is not grpc.aio.EOF:
                self.said += action.audio.data
                if action.HasField("mark"):
                    self.marks.append((len(self.said), action.mark.name))
                self.changed.set()
        except grpc.aio.AioRpcError:
            pass
        code, details = await self.stream.code(), await self.stream.details()
        self.end = (code, details.partition(":")[0])
        self.changed.set()


@pytest.fixture(params=[TrunkGateway, StreamCallGateway])
def gateway(request):
    return request.param


class Serving:
    def __init__(self, bot, **options) -> None:
        self.server = BotServer(bot, host="127.0.0.1", port=0, **options)
        self.channels: list[grpc.aio.Channel] = []

    async def __aenter__(self) -> "Serving":
        self.port = await self.server.start()
        return self

    async def __aexit__(self, *_) -> None:
        for channel in self.channels:
            await channel.close()
        await self.server.stop(0)

    def channel(self) -> grpc.aio.Channel:
        """Return a connection of its own, as each gateway process has."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channels.append(grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=options))
        return self.channels[-1]


class Conversation:
    """A bot that notes its calls, frames and events."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.seqs: list[int] = []
        self.events: asyncio.Queue[object] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()

    async def __call__(self, call: Call) -> None:
        self.calls.append(call)
        watching = asyncio.create_task(self._watch(call))
        with contextlib.suppress(CallEnded):  # frames may be left when the call ends
            async for frame in call.frames():
                self.seqs.append(frame.seq)
                await call.play_raw(frame.data)
        await watching
        self.ended.put_nowait(call.end_reason)

    async def _watch(self, call: Call) -> None:
        async for event in call.events():
            self.events.put_nowait(event)

    async def met(self, kind: type) -> object:
        async with asyncio.timeout(5):
            while not isinstance(event := await self.events.get(), kind):
                pass
        return event


@pytest.mark.parametrize("how", ["dies", "moves before", "moves after"])
async def test_the_same_handler_goes_on_with_the_same_call(gateway, how: str):
    bot = Conversation()
    async with Serving(bot) as serving:
        old, new = gateway(serving.channel()), gateway(serving.channel())
        await old.begin(1 << 10 | 1)
        await old.audio(b"\x11" * FRAME, 40)
        await old.heard(FRAME)
        await old.played(FRAME)
        if how == "dies":
            old.die()
        elif how == "moves before":
            await old.move_away()
        await new.begin(2 << 10 | 1, resumed=True)
        await bot.met(Resumed)
        await new.audio(b"\x22" * FRAME, 60)
        assert (await new.heard(FRAME))[-FRAME:] == b"\x22" * FRAME
        assert len(bot.calls) == 1
        assert bot.calls[0].config.epoch == 2 << 10 | 1
        assert bot.seqs == [40, 60]
        if how == "moves after":
            await old.until(lambda: old.is_superseded)
        await new.press("5")
        assert await bot.met(Dtmf) == Dtmf("5")
        await new.hang_up()
        assert await asyncio.wait_for(bot.ended.get(), 5) == "hangup"


async def test_what_comes_late_on_the_old_stream_is_not_heard(gateway):
    bot = Conversation()
    async with Serving(bot) as serving:
        old, new = gateway(serving.channel()), gateway(serving.channel())
        await old.begin(1 << 10 | 1)
        await old.audio(b"\x11" * FRAME, 1)
        await old.heard(FRAME)
        await new.begin(2 << 10 | 1, resumed=True)
        await bot.met(Resumed)
        if gateway is TrunkGateway:
            await old.audio(b"\x33" * FRAME, 2)
            await old.hang_up()
        await new.audio(b"\x22" * FRAME, 3)
        await new.until(lambda: new.said.endswith(b"\x22" * FRAME))
        assert bot.seqs == [1, 3]
        assert not bot.calls[0].is_over


async def test_what_the_caller_has_not_heard_is_said_again(gateway):
    speech = np.random.default_rng(5).integers(0, 256, 3 * 8000, dtype=np.uint8).tobytes()  # 3 s, at once
    served: list[Call] = []

    async def bot(call: Call) -> None:
        served.append(call)
        await call.play_raw(speech)
        await call.wait_ended()

    async with Serving(bot) as serving:
        old, new = gateway(serving.channel()), gateway(serving.channel())
        await old.begin(1 << 10 | 1)
        await old.heard(len(speech))
        await old.played(8000)
        async with asyncio.timeout(5):
            while served[0].speech.room.consumed < 8000:  # noqa: ASYNC110 - the word of it sets no event
                await asyncio.sleep(0.002)
        old.die()
        await new.begin(2 << 10 | 1, resumed=True)
        rest = await new.heard(len(speech) - 8000 - 1600)
        assert speech.endswith(rest)
        assert len(rest) <= len(speech) - 8000


async def test_what_must_have_been_heard_is_not_said_again(gateway):
    """No gateway reports each byte: speech counts as heard once its playing time has passed."""

    async def bot(call: Call) -> None:
        await call.play_raw(b"\x11" * FRAME * 5)
        await call.wait_ended()

    async with Serving(bot) as serving:
        old, new = gateway(serving.channel()), gateway(serving.channel())
        await old.begin(1 << 10 | 1)
        await old.heard(FRAME * 5)
        await asyncio.sleep(0.15)
        old.die()
        await new.begin(2 << 10 | 1, resumed=True)
        await asyncio.sleep(0.2)
        assert not new.said


async def test_a_stream_of_a_lower_epoch_gets_no_call(gateway):
    bot = Conversation()
    async with Serving(bot) as serving:
        new, old = gateway(serving.channel()), gateway(serving.channel())
        await new.begin(2 << 10 | 1)
        await new.audio(b"\x11" * FRAME, 1)
        await new.heard(FRAME)
        await old.begin(1 << 10 | 9, resumed=True)
        await old.until(lambda: old.is_superseded)
        await new.audio(b"\x22" * FRAME, 2)
        await new.heard(2 * FRAME)
        assert len(bot.calls) == 1


async def test_a_gateway_that_does_not_come_back_ends_the_call(gateway):
    bot = Conversation()
    async with Serving(bot, resume_grace_s=0.2) as serving:
        old = gateway(serving.channel())
        await old.begin(1 << 10 | 1)
        await old.audio(b"\x11" * FRAME, 1)
        await old.heard(FRAME)
        old.die()
        assert await asyncio.wait_for(bot.ended.get(), 5)
        assert bot.calls[0].is_over


async def test_a_bot_that_does_not_know_the_call_begins_anew_and_is_told_so(gateway):
    bot = Conversation()
    async with Serving(bot) as serving:
        new = gateway(serving.channel())
        await new.begin(3 << 10 | 1, resumed=True)
        await new.audio(b"\x11" * FRAME, 900)
        await new.heard(FRAME)
        assert not bot.calls[0].config.resumed
        assert bot.calls[0].config.resume_token == "t1"


async def test_a_call_that_the_bot_has_finished_is_not_begun_again(gateway):
    calls: list[Call] = []

    async def bot(call: Call) -> None:
        calls.append(call)
        await anext(call.digits())

    async with Serving(bot) as serving:
        old, new = gateway(serving.channel()), gateway(serving.channel())
        await old.begin(1 << 10 | 1)
        await old.press("1")
        await old.until(lambda: old.is_finished)
        await new.begin(2 << 10 | 1, resumed=True)
        await new.until(lambda: new.is_finished)
        assert len(calls) == 1


async def test_a_goodbye_under_way_when_the_gateway_dies_is_still_followed_by_the_hangup(gateway):
    said = asyncio.Event()

    async def bot(call: Call) -> None:
        await call.play_raw(b"\x11" * FRAME * 100)
        await call.hangup()
        said.set()
        await call.wait_ended()

    async with Serving(bot) as serving:
        old, new = gateway(serving.channel()), gateway(serving.channel())
        await old.begin(1 << 10 | 1)
        await old.heard(FRAME * 100)
        await asyncio.wait_for(said.wait(), 5)
        old.die()
        if gateway is TrunkGateway:
            actions: list[pb.TrunkAction] = []
            stream = new.stub.Trunk()
            await stream.write(
                pb.TrunkEvents(
                    items=[
                        pb.TrunkEvent(hello=pb.Hello(formats=[PCMU], features=FEATURES)),
                        pb.TrunkEvent(
                            start=pb.Start(
                                handle=1,
                                call_id="c",
                                format=PCMU,
                                config=config_of(2 << 10 | 1, resumed=True),
                            )
                        ),
                    ]
                )
            )
            async with asyncio.timeout(5):
                while not any(item.action.action.HasField("control") for item in actions):
                    actions += (await stream.read()).items
        else:
            stream = new.stub.StreamCall()
            await stream.write(pb.CallEvent(call_id="c", config=config_of(2 << 10 | 1, resumed=True)))
            async with asyncio.timeout(5):
                while not (await stream.read()).HasField("control"):
                    pass


async def test_the_test_kit_loses_and_resumes_a_call():
    met: list[object] = []

    async def bot(call: Call) -> None:
        await call.play(np.arange(8000, dtype=np.int16))
        async for event in call.events():
            met.append(event)
            await call.play(np.full(160, 7, dtype=np.int16))

    async with TestCaller(bot, hears_at_once=False) as caller:
        await caller.listen(ms=500)
        await caller.lose()
        await caller.resume()
        await caller.listen(ms=500)
        heard = caller.heard()
        assert isinstance(met[0], Resumed)
        assert (heard[:4000] == np.arange(4000)).all()
        assert 3900 <= heard[4000] <= 4000 + 200  # from the last byte heard, as reported or by the time
        caller.hang_up()
        with pytest.raises(CallEnded):
            await caller.call.play(np.zeros(1, dtype=np.int16))
