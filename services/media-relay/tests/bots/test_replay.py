"""A bot that was away gets the speech and keys that it missed, in order and marked as replayed."""

import asyncio
from collections.abc import Callable

import pytest

from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.audio import AudioFormat, Codec
from sipgw.bot.wire import END
from sipgw.media_relay.bots.gap import CallGap
from sipgw.media_relay.bots.missed import MissedFrame
from sipgw.media_relay.bots.replay import Replayer
from sipgw.media_relay.streams.bot_call import BotCall, BotProtocol
from sipgw.media_relay.streams.columns import CallColumns
from sipgw.media_relay.streams.counters import BotCounters
from sipgw.runtime.patience import patient
from sipgw.runtime.tasks import TaskGroupOwner

FRAME = 160
PCMU = AudioFormat(Codec.PCMU, 8000, 20)
CALL = BotCall(call_id="call", endpoint="127.0.0.1:1", wire_format=PCMU, bot_format=PCMU)
BOTH = pytest.mark.parametrize("protocol", [BotProtocol.TRUNK, BotProtocol.STREAM_CALL])
REPLAY, CONCEALED = pb.AudioBatch.REPLAY, pb.AudioBatch.CONCEALED


class Noting(voicebot_pb2_grpc.VoiceBotServicer):
    """A bot that takes every call and notes its events as (kind, value), with a count for tests to await."""

    def __init__(self, features: str = "replay,resume") -> None:
        self.features = features
        self.told: list[tuple[str, object]] = []
        self._changed = asyncio.Event()

    async def StreamCall(self, request_iterator, context):
        if self.features:
            await context.send_initial_metadata((("sipgw-features", self.features),))
        while (event := await context.read()) is not END:
            if event.HasField("audio"):
                self._note("audio", (event.audio.seq, event.audio.data))
            else:
                self._note_event(event)

    async def Trunk(self, request_iterator, context):
        hello = pb.Hello(features=self.features.split(","))
        received = 0
        await context.write(pb.TrunkActions(items=[pb.TrunkAction(hello=hello)]))
        while (message := await context.read()) is not END:
            received += len(message.items)
            items = [pb.TrunkAction(ack=pb.Ack(items=received))]
            for item in message.items:
                if item.HasField("start"):
                    accept = pb.CallAction(accept=pb.Accept())
                    action = pb.HandleAction(handle=item.start.handle, action=accept)
                    items.append(pb.TrunkAction(action=action))
                self._note_item(item)
            await context.write(pb.TrunkActions(items=items))

    def _note_item(self, item: pb.TrunkEvent) -> None:
        batch = item.audio
        flags = batch.flags or [0] * len(batch.handles)
        for index, (seq, flag) in enumerate(zip(batch.seq, flags, strict=True)):
            self._note("audio", (seq, batch.audio[index * FRAME : (index + 1) * FRAME]))
            self._note("flag", (seq, flag))
        if item.HasField("event"):
            self._note_event(item.event.event)
        if item.HasField("end"):
            self._note("end", item.end.moved)

    def _note_event(self, event: pb.CallEvent) -> None:
        kind = event.WhichOneof("payload")
        value = {"dtmf": event.dtmf.digit, "replay_mark": event.replay_mark.until_seq}.get(kind)
        self._note("end" if kind == "control" else kind, value)

    def _note(self, kind: str, value: object) -> None:
        self.told.append((kind, value))
        self._changed.set()

    def of(self, *kinds: str) -> list[tuple[str, object]]:
        return [entry for entry in self.told if entry[0] in kinds]

    def seqs(self) -> list[int]:
        return [value[0] for _, value in self.of("audio")]

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(patient(10)):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()


def frame(seq: int) -> bytes:
    return bytes([seq % 256]) * FRAME


def say(relay, frames: int) -> None:
    for _ in range(frames):
        relay.speak({1: frame(relay._seq)})


async def lose(relay, bots, servicer, protocol, **facts: object):
    """Open a call and let its bot die after ten frames."""
    bot = await bots(servicer)
    relay.open(1, bot.address, protocol=protocol, resume_token="token", **facts)
    await relay.sessions.told_of("ready", 1)
    say(relay, 10)
    await servicer.until(lambda: len(servicer.seqs()) == 10)
    await bot.die()
    await relay.sessions.told_of("lost", 1)
    return bot


async def come_back(relay, bot, servicer):
    bot.servicer = servicer
    before = relay.sessions.names(1).count("ready")
    await bot.start()
    await relay.sessions.until(lambda: relay.sessions.names(1).count("ready") > before)
    return servicer


@BOTH
async def test_words_and_keys_of_the_gap_are_told_in_order_marked_and_before_what_follows(
    relay, bots, protocol
):
    bot = await lose(relay, bots, Noting(), protocol)
    say(relay, 30)  # 10 to 39
    relay.bridge.send_digit(1, "7", end=True)
    say(relay, 30)  # 40 to 69
    again = await come_back(relay, bot, Noting())
    say(relay, 5)  # 70 to 74, while the gap is still being told
    relay.bridge.send_digit(1, "8", end=True)
    await again.until(lambda: ("dtmf", "8") in again.told)
    say(relay, 5)  # 75 to 79, directly
    await again.until(lambda: 79 in again.seqs())
    assert again.seqs() == list(range(10, 80))
    assert [value for _, value in again.of("audio")] == [(seq, frame(seq)) for seq in range(10, 80)]
    order = again.of("audio", "dtmf", "replay_mark")
    assert order[0] == ("replay_mark", 69)
    assert order[31] == ("dtmf", "7"), "30 frames after the mark"
    assert order[67] == ("dtmf", "8"), "after 36 frames more"
    if protocol is BotProtocol.TRUNK:
        flags = dict(value for _, value in again.of("flag"))
        assert {seq for seq, flag in flags.items() if flag == REPLAY} == set(range(10, 70))
    assert relay.bridge.counters.frames_replayed == 65
    assert len(again.of("replay_mark")) == 1


@BOTH
@pytest.mark.parametrize(
    ("before", "features"), [("", ""), ("resume", "resume,played"), ("replay,resume", "resume,played")]
)
async def test_a_bot_that_does_not_declare_replay_gets_the_keys_only(relay, bots, protocol, before, features):
    bot = await lose(relay, bots, Noting(before), protocol)
    say(relay, 30)
    relay.bridge.send_digit(1, "7", end=True)
    again = await come_back(relay, bot, Noting(features))
    say(relay, 5)
    await again.until(lambda: len(again.seqs()) == 5)
    assert again.seqs() == list(range(40, 45))
    assert again.of("dtmf") == [("dtmf", "7")]
    assert {kind for kind, _ in again.told} <= {"config", "audio", "dtmf", "flag"}


@BOTH
async def test_a_bot_that_dies_again_is_told_the_rest_when_it_is_back(relay, bots, protocol):
    bot = await lose(relay, bots, Noting(), protocol)
    say(relay, 400)
    second = await come_back(relay, bot, Noting())
    await second.until(lambda: len(second.seqs()) >= 20)
    await bot.die()
    await relay.sessions.until(lambda: relay.sessions.names(1).count("lost") == 2)
    say(relay, 10)
    third = await come_back(relay, bot, Noting())
    await third.until(lambda: 419 in third.seqs())
    assert second.seqs() == list(range(10, 10 + len(second.seqs())))
    assert third.seqs() == list(range(third.seqs()[0], 420))
    assert third.seqs()[0] <= second.seqs()[-1] + 21, "no more is lost than what was under way"


@BOTH
async def test_at_the_end_of_the_call_all_keys_are_told(relay, bots, protocol):
    bot = await lose(relay, bots, Noting(), protocol)
    say(relay, 100)
    relay.bridge.send_digit(1, "7", end=True)
    again = await come_back(relay, bot, Noting())
    relay.bridge.close(1, "bye")
    await again.until(lambda: bool(again.of("end")))
    assert [kind for kind, _ in again.of("dtmf", "end")] == ["dtmf", "end"]
    if protocol is BotProtocol.TRUNK:
        assert again.seqs() == list(range(10, 110))


@BOTH
async def test_what_a_moved_call_says_before_its_bot_is_ready_is_told(relay, bots, protocol):
    servicer = Noting()
    bot = await bots(servicer)
    relay.open(1, bot.address, protocol=protocol, resume_token="token", resumed=True, epoch=2)
    say(relay, 5)
    await relay.sessions.told_of("ready", 1)
    say(relay, 1)
    await servicer.until(lambda: 5 in servicer.seqs())
    assert servicer.seqs() == list(range(6))


@BOTH
async def test_a_new_call_tells_nothing_of_the_time_before_its_bot_and_nothing_of_the_rows_last_call(
    relay, bots, protocol
):
    bot = await lose(relay, bots, Noting(), protocol)
    say(relay, 30)
    relay.bridge.close(1, "bye")
    bot.servicer = servicer = Noting()
    await bot.start()
    relay.open(0x10001, bot.address, protocol=protocol)
    relay.speak({0x10001: frame(relay._seq)})
    await relay.sessions.told_of("ready", 0x10001)
    relay.speak({0x10001: frame(relay._seq)})
    await servicer.until(lambda: bool(servicer.seqs()))
    assert servicer.seqs() == [41]


class Stream:
    """A bot's stream that keeps up or not, as the test says."""

    def __init__(self) -> None:
        self.keeps_up = True
        self.wants_replay = True
        self.can_resume = True
        self.events: list[pb.CallEvent] = []

    def send_event(self, event: pb.CallEvent) -> None:
        self.events.append(event)


class Rounds:
    """A replayer with gaps of its own; `said` is the seqs of each delivery, by row."""

    def __init__(self, calls: int, frames: int) -> None:
        self.said: list[dict[int, list[int]]] = []
        self._delivered = asyncio.Event()
        self.columns = CallColumns()
        self.tasks = TaskGroupOwner("test")
        self.replayer = Replayer(self._deliver, self.tasks, BotCounters())
        self.streams = [Stream() for _ in range(calls)]
        self.gaps = [CallGap(row, CALL, 1, self.columns) for row in range(calls)]
        for gap, stream in zip(self.gaps, self.streams, strict=True):
            gap.begin(stream)
            for seq in range(frames):
                gap.missed.add_frame(MissedFrame(seq, CONCEALED, frame(seq)))
            assert gap.end(stream)
            self.replayer.add(gap)

    def _deliver(self, format_id, rows, seq, flags, payload) -> None:
        assert payload.shape == (len(rows), FRAME)
        assert (flags == CONCEALED | REPLAY).all()
        said: dict[int, list[int]] = {}
        for row, number in zip(rows.tolist(), seq.tolist(), strict=True):
            said.setdefault(row, []).append(number)
        self.said.append(said)
        self._delivered.set()

    async def rounds(self, number: int) -> None:
        async with asyncio.timeout(patient(10)):
            while len(self.said) < number:
                self._delivered.clear()
                await self._delivered.wait()


@pytest.mark.parametrize(("calls", "frames_each"), [(1, 10), (200, 10), (500, 4), (1000, 2), (2000, 2)])
async def test_a_round_is_short_for_each_call_when_there_are_many(calls: int, frames_each: int):
    rounds = Rounds(calls, 25)
    await rounds.rounds(2)
    await rounds.tasks.aclose()
    for number, said in enumerate(rounds.said[:2]):
        expected = list(range(number * frames_each, (number + 1) * frames_each))
        assert said == dict.fromkeys(range(calls), expected)


async def test_a_bot_that_does_not_keep_up_is_told_no_more_and_nothing_is_lost():
    rounds = Rounds(2, 30)
    slow = rounds.streams[0]
    await rounds.rounds(1)
    slow.keeps_up = False
    await rounds.rounds(3)
    assert not rounds.gaps[1].is_open
    assert rounds.gaps[0].is_open
    assert (rounds.columns.is_kept[0], rounds.columns.is_kept[1], rounds.columns.kept) == (True, False, 1)
    slow.keeps_up = True
    await rounds.rounds(5)
    await rounds.tasks.aclose()
    heard = {row: [seq for said in rounds.said for seq in said.get(row, [])] for row in (0, 1)}
    assert heard == {0: list(range(30)), 1: list(range(30))}
    assert rounds.columns.kept == 0
