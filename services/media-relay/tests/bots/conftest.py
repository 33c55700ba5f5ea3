"""Bots of every kind on loopback, and a session side that records its calls."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent import futures
from dataclasses import replace

import grpc
import grpc.aio
import numpy as np
import pytest

from sipgw.api import voicebot_pb2 as pb
from sipgw.api import voicebot_pb2_grpc
from sipgw.audio import AudioFormat, Codec
from sipgw.bot import BotServer
from sipgw.bot.runner import Bot
from sipgw.media_relay.pipeline import FrameBlock, Tick
from sipgw.media_relay.stages.grpc_bridge import GrpcBridgeStage
from sipgw.media_relay.streams.bot_call import BotCall
from sipgw.runtime.patience import patient

PCMU = AudioFormat(Codec.PCMU, 8000, 20)
FRAME = PCMU.frame_bytes
TICK = Tick(0, 0.0)


class Sessions:
    """A BotListener and BotSpeech that writes everything down.

    With `plays` it hears (consumes) speech as it comes.
    """

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.said: dict[int, bytearray] = defaultdict(bytearray)
        self.columns = 0  # frames that came by bot_audio
        self.plays = True
        self.can_resume: dict[int, bool] = {}
        self.bridge: GrpcBridgeStage | None = None
        self._changed = asyncio.Event()

    async def until(self, is_so: Callable[[], bool], timeout_s: float = 10) -> None:
        async with asyncio.timeout(patient(timeout_s)):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    async def told_of(self, what: str, handle: int, timeout_s: float = 10) -> tuple:
        await self.until(lambda: any(entry[:2] == (what, handle) for entry in self.told), timeout_s)
        return next(entry for entry in self.told if entry[:2] == (what, handle))

    async def heard(self, handle: int, size: int, timeout_s: float = 10) -> bytes:
        await self.until(lambda: len(self.said[handle]) >= size, timeout_s)
        return bytes(self.said[handle])

    def names(self, handle: int) -> list[str]:
        return [entry[0] for entry in self.told if entry[1] == handle]

    def consume(self, handle: int, total: int) -> None:
        assert self.bridge is not None
        self.bridge.consumed(np.array([handle], dtype=np.uint32), np.array([total], dtype=np.uint64))

    def _tell(self, *entry: object) -> None:
        self.told.append(entry)
        self._changed.set()

    def _hear(self, handle: int, data: bytes) -> None:
        self.said[handle] += data
        if self.plays:
            self.consume(handle, len(self.said[handle]))
        self._changed.set()

    def bot_ready(self, handle, *, confirmed, address, protocol, can_resume):
        self._tell("ready", handle, confirmed, address, protocol)
        self.can_resume[handle] = can_resume

    def bot_superseded(self, handle):
        self._tell("superseded", handle)

    def bot_audio(self, handles, frames, audio_format):
        assert len(set(handles.tolist())) == len(handles)
        assert frames.shape == (len(handles), audio_format.frame_bytes)
        self.columns += len(handles)
        for handle, frame in zip(handles.tolist(), frames, strict=True):
            self._hear(handle, frame.tobytes())

    def bot_speech(self, handle, data, audio_format):
        self._hear(handle, bytes(data))

    def bot_mark(self, handle, name):
        self._tell("mark", handle, name)

    def bot_clear(self, handle, name):
        self._tell("clear", handle, name)

    def bot_send_dtmf(self, handle, digits, duration_ms):
        self._tell("send_dtmf", handle, digits, duration_ms)

    def bot_hangup(self, handle, reason, *, at_once):
        self._tell("hangup", handle, reason, at_once)

    def bot_transfer(self, handle, target, *, at_once):
        self._tell("transfer", handle, target, at_once)

    def bot_finished(self, handle):
        self._tell("finished", handle)

    def bot_lost(self, handle, reason):
        self._tell("lost", handle, reason)

    def bot_failed(self, handle, reason, *, before_ready):
        self._tell("failed", handle, reason, before_ready)

    def bot_silent(self, handle, after_ms):
        self._tell("silent", handle, after_ms)


class Relay:
    """The bridge with recorded sessions, and callers' audio."""

    def __init__(self, **options: object) -> None:
        self.sessions = Sessions()
        self.bridge = GrpcBridgeStage(self.sessions, instance="relay-test", **options)
        self.sessions.bridge = self.bridge
        self._seq = 0

    def open(self, handle: int, endpoint: str, **changes: object) -> None:
        call = BotCall(
            call_id=f"call-{handle}",
            endpoint=endpoint,
            wire_format=PCMU,
            bot_format=PCMU,
            from_="100",
            to="200",
            traceparent="00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
        )
        self.bridge.open(handle, replace(call, **changes), self.sessions)

    def speak(self, frames: dict[int, bytes], wire: AudioFormat = PCMU) -> None:
        """Send one frame of each caller."""
        rows = np.array([handle & 0xFFFF for handle in frames], dtype=np.uint32)
        count = len(frames)
        payload = np.frombuffer(b"".join(frames.values()), dtype=np.uint8).reshape(count, wire.frame_bytes)
        block = FrameBlock(
            wire,
            rows,
            np.full(count, self._seq, dtype=np.uint64),
            payload,
            np.full(count, wire.frame_bytes, dtype=np.int32),
            np.zeros(count, dtype=np.uint8),
        )
        self._seq += 1
        self.rest = self.bridge.uplink(block, TICK)

    async def converse(self, handles: Iterable[int], frames: int = 20) -> None:
        """Check the echo: each frame of each caller comes back byte for byte."""
        for _ in range(frames):
            said = {handle: frame_of(handle * 1000 + self._seq) for handle in handles}
            before = {handle: len(self.sessions.said[handle]) for handle in said}
            self.speak(said)
            for handle, frame in said.items():
                heard = await self.sessions.heard(handle, before[handle] + FRAME)
                assert heard[before[handle] :] == frame


def frame_of(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, FRAME, dtype=np.uint8).tobytes()


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    relay = Relay()
    yield relay
    await relay.bridge.aclose()


@pytest.fixture
async def new_relay() -> AsyncIterator[Callable[..., Relay]]:
    """Relay(**options), closed at the end."""
    made: list[Relay] = []

    def new(**options: object) -> Relay:
        made.append(Relay(**options))
        return made[-1]

    yield new
    for relay in made:
        await relay.bridge.aclose()


class AioBot:
    """A grpc.aio bot on loopback that can die and come back on its port."""

    def __init__(self, servicer: voicebot_pb2_grpc.VoiceBotServicer, port: int = 0, host: str = "127.0.0.1"):
        self.servicer = servicer
        self.port = port
        self.host = host

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def start(self) -> str:
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        voicebot_pb2_grpc.add_VoiceBotServicer_to_server(self.servicer, self.server)
        self.port = self.server.add_insecure_port(self.address)
        await self.server.start()
        return self.address

    async def die(self) -> None:
        await self.server.stop(0)


@pytest.fixture
async def bots() -> AsyncIterator[Callable]:
    """start(servicer) -> AioBot; all are stopped at the end."""
    running: list[AioBot] = []

    async def start(servicer: voicebot_pb2_grpc.VoiceBotServicer, **options: object) -> AioBot:
        bot = AioBot(servicer, **options)
        running.append(bot)
        await bot.start()
        return bot

    yield start
    for bot in running:
        await bot.die()


@pytest.fixture
async def sdk_bots() -> AsyncIterator[Callable]:
    """start(handler) -> its address; all are stopped, or the process of a failed test would not end."""
    running: list[BotServer] = []

    async def start(bot: Bot, *, host: str = "127.0.0.1", port: int = 0, **options: object) -> str:
        server = BotServer(bot, host=host, port=port, **options)
        running.append(server)
        return f"{host}:{await server.start()}"

    yield start
    for server in running:
        await server.stop(0)


class OldBot:
    """A bot written before this gateway: sync grpcio, a thread pool, and the original fields only."""

    def __init__(self, handler: Callable, workers: int) -> None:
        self.seen: list[pb.CallEvent] = []
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=workers))
        method = grpc.stream_stream_rpc_method_handler(
            lambda events, context: handler(self, events, context),
            request_deserializer=pb.CallEvent.FromString,
            response_serializer=pb.CallAction.SerializeToString,
        )
        handlers = grpc.method_handlers_generic_handler("voicebot.VoiceBot", {"StreamCall": method})
        self.server.add_generic_rpc_handlers((handlers,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()


def old_echo(bot: OldBot, events, context):
    """Echo audio, as the author of an old bot wrote it: every event is Config, audio, dtmf or control."""
    for event in events:
        bot.seen.append(event)
        if event.HasField("audio"):
            yield pb.CallAction(audio=pb.AudioChunk(seq=event.audio.seq, data=event.audio.data))
        elif event.HasField("control"):
            return


@pytest.fixture
def old_bots():
    running: list[OldBot] = []

    def start(handler: Callable = old_echo, workers: int = 10) -> OldBot:
        bot = OldBot(handler, workers)
        running.append(bot)
        return bot

    yield start
    for bot in running:
        bot.server.stop(0).wait()
