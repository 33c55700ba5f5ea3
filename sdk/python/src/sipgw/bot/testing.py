"""Test a bot without gateway, network or telephone: be the caller, in the same event loop.

    async with TestCaller(my_bot, rate_hz=16000) as caller:
        await caller.say(pcm)
        await caller.press("1")
        answer = await caller.hear(ms=200)

Nothing is paced: the bot's speech is heard at once, unless `hears_at_once` is False; then `listen` lets it
pass.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

import numpy as np

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import AudioFormat, Codec, SamplesI16
from sipgw.bot.call import Call, Frame
from sipgw.bot.config import CallConfig
from sipgw.bot.events import Dtmf, DtmfDown, Event, Hold, Played
from sipgw.bot.runner import Bot, run_handler

_FRAME_MS = 20
_ROOM_MS = 8000  # the most speech that waits at the gateway
_TIMEOUT_S = 5.0
_TURNS = 10  # turns of the loop; a bot's reaction passes through a few tasks


class TestCaller:
    """One call to a bot. Linear audio both ways at the bot's rate, so samples arrive as they were sent."""

    __test__ = False
    """Not a test case of pytest's."""

    def __init__(
        self,
        bot: Bot,
        *,
        rate_hz: int = 8000,
        from_: str = "100",
        to: str = "200",
        hears_at_once: bool = True,
        timeout_s: float = _TIMEOUT_S,
        **facts: object,
    ) -> None:
        self.format = AudioFormat(Codec.PCM16, rate_hz, _FRAME_MS)
        self.actions: list[pb.CallAction] = []  # everything but audio and marks, in order
        self._bot = bot
        self._config = CallConfig(
            call_id="test-call",
            wire_format=self.format,
            from_=from_,
            to=to,
            **{  # pyright: ignore[reportArgumentType]
                "features": frozenset({"clear", "mark", "played", "resume"}),
                "resume_token": "test-token",
                **facts,
            },
        )
        self._hears_at_once = hears_at_once
        self._timeout_s = timeout_s
        self._heard = bytearray()
        self._taken = 0  # bytes of `_heard` returned by `hear`
        self._unheard: list[bytes | pb.Mark] = []
        self._seq = 0
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "TestCaller":
        limit = self.format.frame_bytes * (_ROOM_MS // _FRAME_MS)
        self.call = Call(self._config)
        self._room = self.call.speech.room
        self._limit = limit
        self.call.attach(self._config, self, limit)
        handler = run_handler(self._bot, self.call, ending_grace_s=self._timeout_s)
        self._handler = asyncio.create_task(handler, name="bot under test")
        self._handler.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        if kind is None:
            await self.finished()
        else:
            self._handler.cancel()
            await asyncio.wait({self._handler})

    # -- the caller

    async def say(self, pcm: SamplesI16) -> None:
        """Speak int16 samples at the bot's rate; the last frame is filled up with silence."""
        size = self.format.frame_samples
        for start in range(0, len(pcm), size):
            frame = np.zeros(size, dtype="<i2")
            piece = pcm[start : start + size]
            frame[: len(piece)] = piece
            self.call.receive_frame(Frame(self._seq, frame.tobytes()))
            self._seq += 1
            await _settle()

    async def silence(self, ms: int) -> None:
        """Send silence for so long."""
        await self.say(np.zeros(self.format.rate_hz * ms // 1000, dtype=np.int16))

    async def press(self, digits: str) -> None:
        """Press keys."""
        for digit in digits:
            self.call.receive_event(DtmfDown(digit))
            self.call.receive_event(Dtmf(digit))
            await _settle()

    async def hold(self, *, on: bool) -> None:
        """Put the bot on hold, or end the hold."""
        await self.send(Hold(on))

    async def send(self, event: Event) -> None:
        """Send any event."""
        self.call.receive_event(event)
        await _settle()

    async def hear(self, *, ms: int) -> SamplesI16:
        """Wait for the next so many milliseconds of the bot's speech and return them."""
        size = self.format.rate_hz * ms // 1000 * 2
        await self._until(lambda: len(self._heard) - self._taken >= size, f"the bot to say {ms} ms")
        data = bytes(self._heard[self._taken : self._taken + size])
        self._taken += size
        return np.frombuffer(data, dtype="<i2").astype(np.int16)

    def heard(self) -> SamplesI16:
        """Return everything heard so far, also what `hear` returned."""
        return np.frombuffer(bytes(self._heard), dtype="<i2").astype(np.int16)

    async def listen(self, *, ms: int) -> None:
        """Hear so much of the bot's speech (with `hears_at_once=False`)."""
        await _settle()
        size = self.format.rate_hz * ms // 1000 * 2
        while size > 0 and any(isinstance(item, bytes) for item in self._unheard):
            item = self._unheard.pop(0)
            if isinstance(item, pb.Mark):
                self._played(item.name)
                continue
            if item[size:]:
                self._unheard.insert(0, item[size:])
            self._hear_bytes(item[:size])
            size -= len(item)
        while self._unheard and isinstance(mark := self._unheard[0], pb.Mark):
            self._unheard.pop(0)
            self._played(mark.name)
        await _settle()

    async def lose(self) -> None:
        """Kill the gateway's process: its unplayed speech is lost with it."""
        self._unheard.clear()
        self.call.detach(self, "the gateway is gone")
        await _settle()

    async def resume(self) -> None:
        """Continue the call in another process of the gateway: after `lose` a resume, without it a move."""
        self._unheard.clear()
        config = replace(self.call.config, epoch=self.call.config.epoch + 1, resumed=True)
        self.call.attach(config, self, self._limit)
        await _settle()

    def hang_up(self) -> None:
        """Hang up; harmless after the end."""
        self.call.receive_end("hangup")

    # -- the bot's actions

    async def finished(self) -> None:
        """Wait until the handler returned. Raises AssertionError when it failed."""
        await asyncio.wait({self._handler}, timeout=self._timeout_s)
        assert self._handler.done(), f"the bot did not finish within {self._timeout_s:g} s"
        failure = self._handler.result()
        assert failure is None, f"the bot failed: {failure}"

    async def did(self, kind: str) -> pb.CallAction:
        """Return the first action of a kind.

        Kinds are hangup, transfer, send_dtmf, clear, hangup_now and transfer_now.
        """
        await self._until(lambda: kind in map(_kind_of, self.actions), f"the bot to {kind}")
        return next(action for action in self.actions if _kind_of(action) == kind)

    # -- CallStream

    def send_audio(self, data: bytes) -> None:
        """Take the bot's speech."""
        self._put(data)

    def send_action(self, action: pb.CallAction) -> None:
        """Take the bot's actions; answer marks and clear as the gateway does."""
        kind = action.WhichOneof("payload")
        if kind == "mark":
            self._put(action.mark)
            return
        self.actions.append(action)
        if kind == "clear":
            self._clear(action.clear.name)
        self._changed.set()

    def supersede(self) -> None:
        """Do nothing: both streams are this caller's."""

    # -- inside

    def _put(self, item: bytes | pb.Mark) -> None:
        if not self._hears_at_once:
            self._unheard.append(item)
        elif isinstance(item, pb.Mark):
            self._played(item.name)
        else:
            self._hear_bytes(item)
        self._changed.set()

    def _hear_bytes(self, data: bytes) -> None:
        self._heard += data
        self.call.speech.consumed_to(self._room.sent - self._unheard_bytes())

    def _clear(self, name: str) -> None:
        dropped = self._unheard_bytes()
        marks = [item for item in self._unheard if isinstance(item, pb.Mark)]
        self._unheard.clear()
        self.call.speech.consumed_to(self._room.sent)
        for mark in marks:
            self._played(mark.name, cleared=True)
        self._played(name, cleared=True, dropped_ms=self._ms(dropped))

    def _played(self, mark: str, *, cleared: bool = False, dropped_ms: int = 0) -> None:
        self.call.receive_event(Played(mark, self._ms(len(self._heard)), cleared, dropped_ms))

    def _unheard_bytes(self) -> int:
        return sum(len(item) for item in self._unheard if isinstance(item, bytes))

    def _ms(self, size: int) -> int:
        return size * 1000 // (2 * self.format.rate_hz)

    async def _until(self, is_so: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                while not is_so():
                    assert not self._handler.done() or is_so(), f"the bot ended; waited for {what}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited {self._timeout_s:g} s for {what}") from None


async def _settle() -> None:
    """Let the bot's tasks run as far as they can without more input."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _kind_of(action: pb.CallAction) -> str:
    if action.WhichOneof("payload") == "control":
        return "transfer" if action.control.type == pb.BotControl.TRANSFER else "hangup"
    return str(action.WhichOneof("payload"))
