"""GrpcBotGateway: every call's bot stream, in the bots' own formats. Per-tick work is done on columns.

It sits behind `GrpcBridgeStage`, which converts from and to the wire format.
"""

import asyncio
import contextlib
from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import AudioFormat, PayloadU8
from sipgw.media_relay.bots.endpoint import BotEndpoint
from sipgw.media_relay.bots.interface import BotListener, BotSpeech
from sipgw.media_relay.bots.missed import MissedFrame
from sipgw.media_relay.bots.replay import Replayer
from sipgw.media_relay.bots.resolver import Resolve, resolve_by_system
from sipgw.media_relay.bots.session import BotSession
from sipgw.media_relay.errors import BotUnavailable
from sipgw.media_relay.streams.bot_call import BotCall, BotProtocol, BytesU64, HandlesU32
from sipgw.media_relay.streams.columns import (
    MAX_ROWS,
    NO_STREAM,
    OWN_STREAM,
    ROW_MASK,
    CallColumns,
    Rows,
    groups,
    listed,
)
from sipgw.media_relay.streams.counters import BotCounters
from sipgw.media_relay.streams.parts import StreamParts
from sipgw.media_relay.streams.trunk import TrunkStream
from sipgw.media_relay.streams.wire import FormatIds
from sipgw.runtime.tasks import TaskGroupOwner

_CLOSE_TIMEOUT_S: Final = 3.0
_CONCEALED: Final = np.uint8(pb.AudioBatch.CONCEALED)


class GrpcBotGateway:
    """Opens, serves and closes bot streams.

    `speech` gets the bots' audio; a call's listener gets everything else.
    """

    def __init__(
        self, speech: BotSpeech, *, instance: str = "", resolve: Resolve = resolve_by_system
    ) -> None:
        self.counters = BotCounters()
        self._speech = speech
        self._instance = instance
        self._resolve = resolve
        self._columns = CallColumns()
        self._formats = FormatIds()
        self._parts = StreamParts(self._columns, self._formats, self, self.counters)
        self._sessions: list[BotSession | None] = [None] * MAX_ROWS
        self._endpoints: dict[tuple[str, bool], BotEndpoint] = {}
        self._trunks: dict[int, TrunkStream] = {}
        self._next_trunk = 0
        self._tasks = TaskGroupOwner("bots")
        self._running: set[asyncio.Task[None]] = set()
        self._replayer = Replayer(self._deliver, self._tasks, self.counters)

    def open(self, handle: int, call: BotCall, listener: BotListener) -> None:
        """Open a call's bot stream; see BotGateway.

        `call.playout_limit_bytes` is in the bot's format here.
        """
        row = handle & int(ROW_MASK)
        earlier = self._sessions[row]
        if earlier is not None:
            self.close(earlier.handle, "its row is used again")
        try:
            endpoint = self._endpoint(call)
        except BotUnavailable as error:
            listener.bot_failed(handle, str(error), before_ready=True)
            return
        format_id = self._formats.id_of(call.bot_format)
        self._columns.open(row, handle, format_id=format_id, limit=call.playout_limit_bytes)
        session = BotSession(handle, call, endpoint, listener, self._parts, self._replayer)
        self._sessions[row] = session
        task = self._tasks.spawn(session.run(), f"call/{call.call_id}")
        self._running.add(task)
        task.add_done_callback(lambda done: self._ran(done, session))

    def send_frames(
        self,
        audio_format: AudioFormat,
        rows: Rows,
        seq: npt.NDArray[np.uint64],
        flags: npt.NDArray[np.uint8],
        payload: PayloadU8,
    ) -> None:
        """Send one frame in the bot's format for each of these rows; skip rows without a stream."""
        flags = flags & _CONCEALED
        if self._columns.kept:
            kept = self._columns.is_kept[rows]
            self._keep(rows[kept], seq[kept], flags[kept], payload[kept])
            rows, seq, flags, payload = rows[~kept], seq[~kept], flags[~kept], payload[~kept]
        self._deliver(self._formats.id_of(audio_format), rows, seq, flags, payload)

    def send_digit(self, handle: int, digit: str, *, end: bool) -> None:
        """Tell a call's bot of a key; see BotGateway."""
        self.send_event(handle, pb.CallEvent(dtmf=pb.DtmfEvent(digit=digit, end=end)))

    def send_event(self, handle: int, event: pb.CallEvent) -> None:
        """Send an event to a call's bot; see BotGateway."""
        if (session := self._session(handle)) is not None:
            session.send_event(event)

    def consumed(self, handles: HandlesU32, total_bytes: BytesU64) -> None:
        """Take note of consumed speech, in bytes of the bot's format; see BotGateway."""
        for row in listed(self._columns.consume(handles, total_bytes)):
            session = self._sessions[row]
            if session is not None:
                self._columns.is_waiting[row] = False
                session.give_credit()

    def warm(self, call: BotCall) -> None:
        """Connect to the bot's pod of that call. A failure shows only when the call is opened."""
        self._tasks.spawn(self._warm(call), f"warm/{call.call_id}")

    async def _warm(self, call: BotCall) -> None:
        if call.protocol is BotProtocol.STREAM_CALL:
            return
        with contextlib.suppress(BotUnavailable):
            endpoint = self._endpoint(call)
            pod = await endpoint.choose(call.preferred_address, asyncio.get_running_loop().time())
            await pod.trunk()

    def close(self, handle: int, reason: str, *, moved: bool = False) -> None:
        """End a call for its bot; see BotGateway."""
        session = self._session(handle)
        if session is None:
            return
        session.close(reason, moved=moved)
        self._sessions[session.row] = None
        self._columns.close(session.row)

    async def aclose(self) -> None:
        """Close every call and stream; see BotGateway."""
        for session in list(self._sessions):
            if session is not None:
                self.close(session.handle, "the relay is stopping")
        if self._running:
            await asyncio.wait(set(self._running), timeout=_CLOSE_TIMEOUT_S)
        await asyncio.gather(
            *(endpoint.aclose("the relay is stopping") for endpoint in self._endpoints.values())
        )
        await self._tasks.aclose()

    # -- SpeechSink

    def receive_frames(self, rows: Rows, frames: PayloadU8, format_id: int) -> None:
        """Pass frames of bots on; see SpeechSink."""
        audio_format = self._formats.format_of(format_id)
        if audio_format is not None:
            self._columns.delivered[rows] += np.uint64(frames.shape[1])
            self._speech.bot_audio(self._columns.handle[rows], frames, audio_format)

    def receive_speech(self, row: int, data: bytes | memoryview) -> None:
        """Pass speech of a bot on; see SpeechSink."""
        session = self._sessions[row]
        if session is not None:
            self._columns.delivered[row] += np.uint64(len(data))
            self._speech.bot_speech(session.handle, data, session.call.bot_format)

    # -- inside

    def _deliver(
        self,
        format_id: int,
        rows: Rows,
        seq: npt.NDArray[np.uint64],
        flags: npt.NDArray[np.uint8],
        payload: PayloadU8,
    ) -> None:
        for number, chosen in groups(self._columns.stream[rows]):
            if number == NO_STREAM:
                continue
            part = rows, seq, flags, payload
            if chosen is not None:
                part = rows[chosen], seq[chosen], flags[chosen], payload[chosen]
            if number == OWN_STREAM:
                self._send_to_stream_calls(*part)
            else:
                self._trunks[number].send_frames(format_id, *part)

    def _keep(
        self,
        rows: Rows,
        seq: npt.NDArray[np.uint64],
        flags: npt.NDArray[np.uint8],
        payload: PayloadU8,
    ) -> None:
        for row, number, flag, frame in zip(listed(rows), listed(seq), listed(flags), payload, strict=True):
            session = self._sessions[row]
            if session is not None:
                session.gap.missed.add_frame(MissedFrame(number, flag, frame.tobytes()))

    def _ran(self, task: asyncio.Task[None], session: BotSession) -> None:
        """Report a crash of a session's task as a failed bot, so that no caller is left in silence."""
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._session(session.handle) is session:
            session.listener.bot_failed(session.handle, f"internal error: {error}", before_ready=False)

    def _session(self, handle: int) -> BotSession | None:
        session = self._sessions[handle & int(ROW_MASK)]
        return session if session is not None and session.handle == handle else None

    def _send_to_stream_calls(
        self,
        rows: Rows,
        seq: npt.NDArray[np.uint64],
        _flags: npt.NDArray[np.uint8],
        payload: PayloadU8,
    ) -> None:
        for row, number, frame in zip(listed(rows), listed(seq), payload, strict=True):
            session = self._sessions[row]
            if session is not None and session.stream_call is not None:
                session.stream_call.send_audio(number, frame.tobytes())

    def _endpoint(self, call: BotCall) -> BotEndpoint:
        key = (call.endpoint, call.tls)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = self._endpoints[key] = BotEndpoint(
                call.endpoint, tls=call.tls, new_trunk=self._new_trunk, resolve=self._resolve
            )
        return endpoint

    def _new_trunk(self, address: str) -> TrunkStream:
        for number in [number for number, trunk in self._trunks.items() if trunk.closed.is_set()]:
            del self._trunks[number]
        number = self._next_trunk
        self._next_trunk += 1
        trunk = self._trunks[number] = TrunkStream(number, address, self._parts, instance=self._instance)
        return trunk
