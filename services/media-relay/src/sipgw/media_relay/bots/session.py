"""The bot side of one call, run by a task: attach, become ready, break, attach again, end."""

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from sipgw.api import voicebot_pb2 as pb
from sipgw.media_relay.bots.actions import tell_action
from sipgw.media_relay.bots.endpoint import BotEndpoint, BotPod
from sipgw.media_relay.bots.gap import CallGap
from sipgw.media_relay.bots.interface import BotListener
from sipgw.media_relay.bots.replay import Replayer
from sipgw.media_relay.errors import (
    BotUnavailable,
    BotUnimplemented,
    BotUnreachable,
    TrunkUnimplemented,
)
from sipgw.media_relay.streams.bot_call import BotCall, BotProtocol
from sipgw.media_relay.streams.columns import ROW_MASK
from sipgw.media_relay.streams.parts import StreamParts
from sipgw.media_relay.streams.stream import Broken, CallStream, Finished, StreamEnd, Superseded
from sipgw.media_relay.streams.stream_call import StreamCall
from sipgw.media_relay.streams.wire import attach_epoch, config_of
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.telemetry.traces import parse_traceparent, record_span

if TYPE_CHECKING:
    import grpc.aio

_log = get_logger("sipgw.media_relay.bots")

_BACKOFF_FIRST_S: Final = 0.1
_BACKOFF_MOST_S: Final = 1.0
_STABLE_S: Final = 5.0
"""An attach that lasted this long restarts the reconnect limit."""


class BotSession:
    """The task `run` serves one call.

    The gateway and the stream call the other methods, which return at once.
    """

    def __init__(
        self,
        handle: int,
        call: BotCall,
        endpoint: BotEndpoint,
        listener: BotListener,
        parts: StreamParts,
        replayer: Replayer,
    ) -> None:
        self.handle = handle
        self.call = call
        self.stream_call: StreamCall | None = None
        self._endpoint = endpoint
        self.listener = listener
        self._parts = parts
        self._replayer = replayer
        self.gap = CallGap(self.row, call, int(parts.columns.format_id[self.row]), parts.columns)
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()
        self._stream: CallStream | None = None
        self._end: asyncio.Future[StreamEnd] = self._loop.create_future()
        self._ready: asyncio.Future[bool] = self._loop.create_future()
        self._pod: BotPod | None = None
        self._last_address = call.preferred_address
        self._protocol = ""
        self._attaches = 0
        self._was_ready = call.resumed
        self._has_been_ready = False
        self._silence_timer: asyncio.TimerHandle | None = None
        self._closed = asyncio.Event()
        self._lost_at: float | None = None
        self._trouble = ""
        """Why the previous attempt failed.

        It is reported too, since the last attempt may just be cut short.
        """
        self._ready_at = 0.0
        self._channel: grpc.aio.Channel | None = None
        self._trace = parse_traceparent(call.traceparent)
        trace_id = self._trace.trace_id if self._trace is not None else ""
        self._log = _log.bind(call_id=call.call_id, trace_id=trace_id)
        self._attach_began_ns = time.time_ns()

    @property
    def _is_closed(self) -> bool:
        return self._closed.is_set()

    @property
    def row(self) -> int:
        """The call's row in the columns."""
        return self.handle & int(ROW_MASK)

    # -- the gateway's side

    def send_event(self, event: pb.CallEvent) -> None:
        """Send an event to the bot; keep keys until a bot is ready and has heard the audio before them."""
        if self.gap.is_open and event.WhichOneof("payload") == "dtmf":
            self.gap.missed.add_event(event)
        elif self._stream is not None:
            self._stream.send_event(event)

    def give_credit(self) -> None:
        """Tell the bot how much of its speech was consumed."""
        if self._stream is not None:
            self._stream.give_credit()

    def close(self, reason: str, *, moved: bool = False) -> None:
        """Tell the listener nothing more and end the stream. `moved`: the call goes on elsewhere."""
        self._closed.set()
        self._stop_silence_timer()
        self._replayer.finish(self.gap)
        if self._stream is not None:
            self._stream.close(reason, moved=moved)
            self._stream = None
        if not self._end.done():
            self._end.set_result(Finished())

    # -- the stream's side (AttachedCall)

    def became_ready(self, *, confirmed: bool) -> None:
        """Report that the bot is ready; see AttachedCall."""
        if self._is_closed or self._pod is None or self._stream is None:
            return
        if self._ready.done():
            if confirmed:
                self._stop_silence_timer()
                if not self._ready.result() and self._can_resume:  # its metadata arrived late
                    self._tell_ready(confirmed=True)
            return
        self._ready.set_result(confirmed)
        self._ready_at = self._loop.time()
        self._was_ready = self._has_been_ready = True
        self._trouble = ""
        if self.stream_call is not None:
            self._endpoint.note_declared(self._loop.time(), declared=self.stream_call.is_declared)
        took_ms = round((self._loop.time() - (self._lost_at or self._opened_at)) * 1000)
        self._record_attach()
        self._log.info(
            "bot_ready", bot=self._pod.address, protocol=self._protocol, confirmed=confirmed, took_ms=took_ms
        )
        if self.gap.end(self._stream):
            self._replayer.add(self.gap)
        if not confirmed and self.call.silent_after_ms:
            self._silence_timer = self._loop.call_later(self.call.silent_after_ms / 1000, self._is_silent)
        self._tell_ready(confirmed=confirmed)

    @property
    def _can_resume(self) -> bool:
        return self._stream is not None and self._stream.can_resume

    def _tell_ready(self, *, confirmed: bool) -> None:
        if self._pod is not None:
            self.listener.bot_ready(
                self.handle,
                confirmed=confirmed,
                address=self._pod.address,
                protocol=self._protocol,
                can_resume=self._can_resume,
            )

    def receive_action(self, action: pb.CallAction) -> None:
        """Pass an action of the bot on; see AttachedCall."""
        if not self._is_closed:
            tell_action(self.listener, self.handle, action)

    def stream_ended(self, end: StreamEnd) -> None:
        """Note how the stream ended; see AttachedCall."""
        if self._stream is not None and self._ready.done():
            self.gap.begin(self._stream)
        if not self._end.done():
            self._end.set_result(end)

    # -- the task

    async def run(self) -> None:
        """Serve the call until it is closed, or until the bot finishes or fails for good."""
        backoff_s = _BACKOFF_FIRST_S
        while not self._is_closed:
            end = await self._attempt()
            if self._is_closed:
                return
            if not isinstance(end, Broken):
                self._tell_end(end)
                return
            before_ready = not self._has_been_ready
            if self._ready.done():
                backoff_s = self._note_lost(end.reason, backoff_s)
            if end.is_unreachable:
                await self._pause(self._endpoint.until_reachable())
            elif not end.is_final:
                await self._pause(asyncio.sleep(backoff_s * random.uniform(0.8, 1.2)))
                backoff_s = min(max(2 * backoff_s, _BACKOFF_FIRST_S), _BACKOFF_MOST_S)
            if not end.is_final and self._loop.time() < self._deadline():
                continue
            if not self._is_closed:
                self.listener.bot_failed(self.handle, end.reason, before_ready=before_ready)
            return

    async def _attempt(self) -> StreamEnd:
        """Attach once and serve until the stream ends; return its end, or why there was none."""
        try:
            return await self._attach_and_serve()
        except BotUnavailable as error:
            if not self._is_closed:
                self._record_attach(str(error))
            self._trouble = str(error)
            return Broken(
                str(error),
                is_final=isinstance(error, BotUnimplemented),
                is_unreachable=isinstance(error, BotUnreachable),
            )

    async def _pause(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait until another attempt makes sense, but not beyond the deadline or the call's end."""
        worthwhile = asyncio.create_task(waiting)
        closed = asyncio.create_task(self._closed.wait())
        try:
            left_s = max(0.0, self._deadline() - self._loop.time())
            await asyncio.wait({worthwhile, closed}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
            worthwhile.cancel()
            await asyncio.gather(worthwhile, return_exceptions=True)

    def _tell_end(self, end: Finished | Superseded) -> None:
        if isinstance(end, Finished):
            self._log.info("bot_finished")
            self.listener.bot_finished(self.handle)
        else:
            self._log.info("bot_superseded")
            self.listener.bot_superseded(self.handle)

    def _note_lost(self, reason: str, backoff_s: float) -> float:
        """Report the broken stream and return the back-off: none at first.

        A bot that breaks again at once is one long loss.
        """
        now = self._loop.time()
        was_stable = now - self._ready_at >= _STABLE_S
        if self._lost_at is None or was_stable:
            self._lost_at = now
            backoff_s = 0.0
        self._parts.counters.reconnects += 1
        self.listener.bot_lost(self.handle, reason)
        return backoff_s

    async def _attach_and_serve(self) -> StreamEnd:
        """Attach once and serve until the stream ends. Raises BotUnavailable if it never attached."""
        self._end = self._loop.create_future()
        self._ready = self._loop.create_future()
        self._attach_began_ns = time.time_ns()
        pod = await self._endpoint.choose(self._last_address, self._loop.time())
        self._pod = pod
        pod.begin_call()
        try:
            async with asyncio.timeout_at(self._deadline()):
                self._stream = await self._attach(pod)
                await asyncio.wait({self._ready, self._end}, return_when=asyncio.FIRST_COMPLETED)
            end = await self._end
            if not self._ready.done():
                pod.avoid(self._loop.time())  # it refused
            self._last_address = pod.address
            return end
        except TimeoutError:
            pod.avoid(self._loop.time())
            before = f"; before: {self._trouble}" if self._trouble else ""
            raise BotUnavailable(f"the bot at {pod.address} was not ready in time{before}") from None
        except BotUnavailable:
            if not self._is_closed:
                pod.avoid(self._loop.time())
            raise
        finally:
            pod.end_call()
            await self._detach(pod)

    async def _attach(self, pod: BotPod) -> CallStream:
        self._attaches += 1
        config = config_of(
            self.call,
            epoch=attach_epoch(self.call.epoch, self._attaches),
            resumed=self._was_ready and pod.address == self._last_address,
        )
        now = self._loop.time()
        if self.call.protocol is not BotProtocol.STREAM_CALL and (
            self.call.protocol is BotProtocol.TRUNK or self._endpoint.may_have_trunk(now)
        ):
            try:
                self._protocol = "trunk"
                trunk = await pod.trunk()
                if self._is_closed:
                    raise BotUnavailable("the call is over")
                return trunk.attach(self, self.call, config, self._attaches)
            except TrunkUnimplemented as error:
                if self.call.protocol is BotProtocol.TRUNK:
                    raise BotUnimplemented(f"{error}, and the route allows no other protocol") from error
                self._endpoint.note_no_trunk(now)
                self._log.info("bot_has_no_trunk", bot=pod.address)
        return await self._attach_stream_call(pod, config)

    async def _attach_stream_call(self, pod: BotPod, config: pb.Config) -> CallStream:
        self._protocol = "stream_call"
        self._channel = await pod.connections.take()
        if self._is_closed:
            raise BotUnavailable("the call is over")
        now = self._loop.time()
        self.stream_call = stream = StreamCall(self, self.call, self._parts)
        self._stream = stream  # events sent while it opens follow Config
        await stream.open(self._channel, config, must_declare=self._endpoint.is_declared(now))
        return stream

    async def _detach(self, pod: BotPod) -> None:
        self._stop_silence_timer()
        stream, self._stream = self._stream, None
        if stream is not None:
            if self._ready.done() and not self._is_closed:
                self.gap.begin(stream)
            stream.close("detached")
        stream_call, self.stream_call = self.stream_call, None
        if stream_call is not None:
            await stream_call.closed()
        if self._channel is not None:
            pod.connections.give_back(self._channel)
            self._channel = None

    def _deadline(self) -> float:
        if self._lost_at is None:
            return self._opened_at + self.call.ready_timeout_ms / 1000
        return self._lost_at + self.call.reconnect_limit_ms / 1000

    def _record_attach(self, error: str | None = None) -> None:
        """Record a span for each attach in the call's trace (docs/how-to/trace-a-call.md)."""
        attributes = {
            "bot.address": self._pod.address if self._pod is not None else self.call.endpoint,
            "bot.protocol": self._protocol,
            "bot.attach": self._attaches,
        }
        record_span("bot attach", self._trace, self._attach_began_ns, time.time_ns(), attributes, error)

    # -- silence

    def _is_silent(self) -> None:
        """Report a bot that took the stream and never answered, as one with a full thread pool does."""
        if self._pod is None or self._is_closed:
            return
        self._parts.counters.bots_silent += 1
        self._log.warning(
            "bot_silent",
            bot=self._pod.address,
            after_ms=self.call.silent_after_ms,
            calls_on_bot=self._pod.calls,
            why="the bot accepted the stream but never answered on it: all its workers may be busy",
        )
        self.listener.bot_silent(self.handle, self.call.silent_after_ms)

    def _stop_silence_timer(self) -> None:
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None
