"""One telephone call, as a bot sees it. It knows no gRPC: a `CallStream` carries its messages."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import SamplesI16
from sipgw.bot.config import CallConfig
from sipgw.bot.converter import SpeechConverter, as_samples
from sipgw.bot.errors import CallEnded
from sipgw.bot.events import Answered, Dtmf, Event, Played, Resumed
from sipgw.bot.queues import BoundedQueue, Overflow
from sipgw.bot.speech import CallStream, Speech

_EVENT_LIMIT = 1000
_CHUNK_MS = 1000  # speech handed on at a time; a clear stops the rest
_ANSWER_TIMEOUT_S = 1.0
_OWN_MARK = "sipgw."  # marks that the SDK sets for itself


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame period of the caller, as received."""

    seq: int
    """Frame periods since the call's first; a jump is a gap."""
    data: bytes
    """Audio in `config.wire_format`."""
    concealed: bool = False
    """Whether no packet arrived, so that the audio is made up (concealment)."""
    replay: bool = False
    """Whether the caller said it while the bot was away."""


class Call:
    """A call in progress. `audio()` and `events()` end when the call does; `play()` raises CallEnded then."""

    def __init__(
        self,
        config: CallConfig,
        *,
        rate_hz: int | None = None,
        audio_queue_ms: int = 2000,
        resume_grace_s: float = 10.0,
    ) -> None:
        self.config = config
        self.rate_hz = rate_hz or config.wire_format.rate_hz
        self.frame_samples = self.rate_hz * config.wire_format.frame_ms // 1000
        self.end_reason = ""
        self.speech = Speech(config.wire_format)
        self._room = self.speech.room
        self._resume_grace_s = resume_grace_s
        self._giving_up: asyncio.TimerHandle | None = None
        self._detached_at_s: float | None = None
        self._is_answered = False
        self._played_ms = 0  # heard so far, through all streams
        self._played_before_ms = 0  # part of it heard through earlier streams
        self._converter = SpeechConverter(config.wire_format, self.rate_hz)
        frames = max(1, audio_queue_ms // config.wire_format.frame_ms)
        self._audio: BoundedQueue[Frame] = BoundedQueue(frames, Overflow.DROP_OLDEST)
        self._events: BoundedQueue[Event] = BoundedQueue(_EVENT_LIMIT, Overflow.DROP_OLDEST)
        self._speaking = asyncio.Lock()
        self._ended = asyncio.Event()
        self._awaited: dict[str, asyncio.Future[Played]] = {}
        self._marks = 0

    @property
    def call_id(self) -> str:
        return self.config.call_id

    @property
    def from_(self) -> str:
        return self.config.from_

    @property
    def to(self) -> str:
        return self.config.to

    @property
    def is_over(self) -> bool:
        return self._ended.is_set()

    @property
    def dropped_frames(self) -> int:
        """The caller's frames dropped because the handler was slower than `audio_queue_ms`."""
        return self._audio.dropped

    # -- hearing

    async def audio(self) -> AsyncIterator[SamplesI16]:
        """Yield the caller's audio, a frame at a time: int16 at `rate_hz`, shape (frame_samples,)."""
        async for frame in self._audio:
            yield self._converter.heard(frame.data)

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield the caller's audio as received: bytes in `config.wire_format`.

        Use this or `audio`, not both.
        """
        async for frame in self._audio:
            yield frame

    async def events(self) -> AsyncIterator[Event]:
        """Yield everything but audio, in order."""
        async for event in self._events:
            yield event

    async def digits(self) -> AsyncIterator[str]:
        """Yield key presses, and ignore other events."""
        async for event in self._events:
            if isinstance(event, Dtmf):
                yield event.digit

    async def wait_ended(self) -> str:
        """Wait until the call is over; return the reason."""
        await self._ended.wait()
        return self.end_reason

    # -- speaking

    async def play(self, pcm: npt.NDArray[np.int16] | bytes, *, rate_hz: int | None = None) -> bool:
        """Play samples (int16, one channel, at the call's rate or at `rate_hz`).

        Returns when the gateway has room for the last of them, seconds before the caller hears it. False: a
        `clear` cut it. Raises CallEnded when the call is over.
        """
        samples = as_samples(pcm)
        clears = self._room.clears
        async with self._speaking:
            if clears != self._room.clears:
                return False
            return await self._say(self._converter.said(samples, rate_hz))

    async def play_raw(self, data: bytes) -> bool:
        """Play bytes that are already in `config.wire_format`, unchanged."""
        clears = self._room.clears
        async with self._speaking:
            return clears == self._room.clears and await self._say(data)

    async def clear(self) -> Played | None:
        """Stop speaking at once, dropping unplayed audio, also of a `play` that waits elsewhere.

        Return how much the caller heard; None when the gateway doesn't say.
        """
        self._check()
        self.speech.clear()
        self._converter.forget()
        name = self._own_mark()
        return await self._answer(name, pb.CallAction(clear=pb.Clear(name=name)))

    async def mark(self, name: str) -> None:
        """Ask for a `Played` event once everything played so far has been heard."""
        if name.startswith(_OWN_MARK):
            raise ValueError(f'mark names that start with "{_OWN_MARK}" are the SDK\'s own')
        async with self._speaking:
            await self._say(self._converter.rest())
            self._send(pb.CallAction(mark=pb.Mark(name=name)))

    async def played(self) -> Played:
        """Wait until the caller has heard everything played so far, or it was cleared."""
        async with self._speaking:
            await self._say(self._converter.rest())
            name = self._own_mark()
            answer = self._expect(name)
            self._send(pb.CallAction(mark=pb.Mark(name=name)))
        return await answer

    # -- acting

    async def hangup(self, *, reason: str = "", at_once: bool = False) -> None:
        """End the call when everything played has been heard (at most 60 s), or at once."""
        if at_once:
            self._send(pb.CallAction(hangup_now=pb.HangupNow(reason=reason)))
        else:
            await self._finish_speaking()
            self._send(pb.CallAction(control=pb.BotControl(type=pb.BotControl.HANGUP)))

    async def transfer(self, target: str, *, at_once: bool = False) -> None:
        """Transfer the caller to a SIP URI or number. A `TransferOutcome` event reports the result."""
        if at_once:
            self._send(pb.CallAction(transfer_now=pb.TransferNow(target=target)))
        else:
            await self._finish_speaking()
            control = pb.BotControl(type=pb.BotControl.TRANSFER, transfer_target=target)
            self._send(pb.CallAction(control=control))

    async def send_dtmf(self, digits: str, *, duration_ms: int = 100) -> None:
        """Press keys towards the caller: 0-9 * # A-D."""
        if not digits or any(digit not in "0123456789*#ABCD" for digit in digits):
            raise ValueError(f"digits are 0-9 * # A-D, not {digits!r}")
        self._send(pb.CallAction(send_dtmf=pb.SendDtmf(digits=digits, duration_ms=duration_ms)))

    async def finish_speaking(self) -> None:
        """Send what still waits in the resampler. Called when the handler returns."""
        if not self.is_over:
            await self._finish_speaking()

    # -- the stream's side

    def receive_frame(self, frame: Frame) -> None:
        """Take a frame of the caller from the adapter."""
        self._audio.put(frame)

    def receive_event(self, event: Event) -> None:
        """Take an event from the adapter."""
        if isinstance(event, Played):
            event = self._whole(event)
            self.speech.played(event.mark)
            if event.mark.startswith(_OWN_MARK):
                answer = self._awaited.pop(event.mark, None)
                if answer is not None and not answer.done():
                    answer.set_result(event)
                return
        if isinstance(event, Answered):
            if self._is_answered:
                return  # sent again on a later stream
            self._is_answered = True
        self._events.put(event)

    def attach(self, config: CallConfig, stream: CallStream, limit: int | None) -> int:
        """Carry the call on this stream of the adapter from now on; an earlier one is superseded.

        Return the position in the speech at which the stream begins.
        """
        earlier = self.speech.stream
        was_attached = earlier is not None
        if earlier is not None:
            self.speech.detach()
            earlier.supersede()
        gap_s = 0.0 if self._detached_at_s is None else _now_s() - self._detached_at_s
        self._stop_giving_up()
        if was_attached or self._detached_at_s is not None:
            self._played_before_ms = self._played_ms
            self._events.put(Resumed(round(gap_s * 1000)))
        self._detached_at_s = None
        self.config = config
        self.speech.keeps = config.can_be_resumed
        return self.speech.attach(stream, limit)

    def detach(self, stream: CallStream, reason: str) -> None:
        """Note that the adapter's stream broke. Another may come; without one the call is over."""
        if self.is_over or self.speech.stream is not stream:
            return
        if not self.config.can_be_resumed:
            self.receive_end(reason)
            return
        self.speech.detach()
        self._detached_at_s = _now_s()
        self._giving_up = asyncio.get_running_loop().call_later(
            self._resume_grace_s, self.receive_end, reason
        )

    def receive_end(self, reason: str) -> None:
        """Note that the call is over."""
        if self.is_over:
            return
        self.end_reason = reason
        self._stop_giving_up()
        self._ended.set()
        self._room.close()
        self._audio.close()
        self._events.close()
        for answer in self._awaited.values():
            if not answer.done():
                answer.set_exception(CallEnded(reason))
                answer.exception()  # mark it as retrieved: nobody may be waiting any more
        self._awaited.clear()

    # -- inside

    async def _say(self, data: bytes) -> bool:
        self._check()
        clears = self._room.clears
        chunk_bytes = self.config.wire_format.frame_bytes * max(
            1, _CHUNK_MS // self.config.wire_format.frame_ms
        )
        start = 0
        while start < len(data):
            free = self._room.free
            if free == 0:
                free = await self._room.wait()
                if clears != self._room.clears:
                    return False
            end = min(len(data), start + chunk_bytes, len(data) if free is None else start + free)
            self.speech.send_audio(data[start:end])
            start = end
        return True

    async def _finish_speaking(self) -> None:
        async with self._speaking:
            await self._say(self._converter.rest())

    async def _answer(self, name: str, action: pb.CallAction) -> Played | None:
        answer = self._expect(name)
        self._send(action)
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError:
            self._awaited.pop(name, None)
            return None

    def _expect(self, name: str) -> asyncio.Future[Played]:
        self._check()
        answer: asyncio.Future[Played] = asyncio.get_running_loop().create_future()
        self._awaited[name] = answer
        return answer

    def _own_mark(self) -> str:
        self._marks += 1
        return f"{_OWN_MARK}{self._marks}"

    def _send(self, action: pb.CallAction) -> None:
        self._check()
        self.speech.send_action(action)

    def _whole(self, played: Played) -> Played:
        """Add the speech heard through earlier streams: a gateway process counts only its own."""
        total_ms = self._played_before_ms + played.played_ms
        self._played_ms = max(self._played_ms, total_ms)
        return replace(played, played_ms=total_ms) if self._played_before_ms else played

    def _stop_giving_up(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _check(self) -> None:
        if self.is_over:
            raise CallEnded(self.end_reason)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
