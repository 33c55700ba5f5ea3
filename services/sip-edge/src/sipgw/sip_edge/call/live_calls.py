"""The local state of calls that this process serves: INVITE transactions, futures, timers.

Another edge needs none of it to go on with a call: all it needs is in the record.
"""

import asyncio
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.runtime.telemetry.logs import FilteringBoundLogger, get_logger
from sipgw.runtime.telemetry.traces import TraceIds
from sipgw.sip import Address, TransactionKey
from sipgw.sip_edge.call.setup_window import Setup
from sipgw.sip_edge.sip.responses import InviteResponseTemplate

_log = get_logger("sipgw.sip_edge.call")


@dataclass(frozen=True, slots=True)
class RelayGone:
    """The relay died before the bot was ready."""

    reason: str


BotOutcome = relay.BotReady | relay.BotFailed | RelayGone


@dataclass(slots=True)
class LiveCall:
    """The local state of one call."""

    call_id: str
    trace: TraceIds
    template: InviteResponseTemplate | None
    """None if another edge received the INVITE and the record has no response to build others from."""
    destination: Address | None
    invite_key: TransactionKey | None = None
    """None if another edge received the INVITE: responses are then sent without a transaction."""
    media: relay.MediaSpec | None = None
    bot: "asyncio.Future[BotOutcome]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    transfer: "asyncio.Future[int] | None" = None
    """Gets the final status of a transfer under way."""
    refused: set[str] = field(default_factory=set[str])
    """Incarnations of relays that refused the call."""
    setup: Setup | None = None
    """Its place in the set-up window; None if another edge received the INVITE."""
    timer: asyncio.TimerHandle | None = None
    is_setting_up: bool = False
    """A task of this process is bringing it to its answer."""
    is_moving: bool = False
    """A task of this process is moving it."""
    began_ns: int = field(default_factory=time.time_ns)

    @property
    def log(self) -> FilteringBoundLogger:
        """A logger that names the call and its trace."""
        return _log.bind(call_id=self.call_id, trace_id=self.trace.trace_id)

    @contextmanager
    def setting_up(self) -> Generator[None]:
        """Mark that the block brings the call to its answer."""
        self.is_setting_up = True
        try:
            yield
        finally:
            self.is_setting_up = False

    def begin_move(self) -> bool:
        """Note that a task is about to move the call; False: another task is moving it."""
        was_moving, self.is_moving = self.is_moving, True
        return not was_moving

    def end_move(self) -> None:
        """Note that the task which moved the call is over."""
        self.is_moving = False

    @contextmanager
    def transferring(self) -> "Generator[asyncio.Future[int]]":
        """Mark that the block awaits the final status of a transfer."""
        self.transfer = asyncio.get_running_loop().create_future()
        try:
            yield self.transfer
        finally:
            self.transfer = None

    def set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        """Replace the timer of the call's deadline."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = timer

    def note_bot(self, outcome: BotOutcome) -> None:
        """Note that the bot is ready, or will not come; only the first outcome counts."""
        if not self.bot.done():
            self.bot.set_result(outcome)

    def await_bot_again(self) -> None:
        """Forget the bot's outcome, because it came from a relay that the call has left."""
        self.bot = asyncio.get_running_loop().create_future()


class LiveCalls:
    """The calls that this process serves, by call id."""

    def __init__(self) -> None:
        self._calls: dict[str, LiveCall] = {}
        self._waiters: list[asyncio.Event] = []

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[LiveCall]:
        return iter(list(self._calls.values()))

    def add(self, live: LiveCall) -> None:
        """Serve a call from now on."""
        self._calls[live.call_id] = live

    def get(self, call_id: str) -> LiveCall | None:
        """Give the call if it is served here."""
        return self._calls.get(call_id)

    def remove(self, call_id: str) -> LiveCall | None:
        """Stop serving a call."""
        live = self._calls.pop(call_id, None)
        if live is not None:
            live.note_bot(relay.BotFailed(reason="the call is over"))
            live.set_timer(None)
        if not self._calls:
            for waiter in self._waiters:
                waiter.set()
        return live

    async def all_gone(self) -> None:
        """Wait until no call is served."""
        if self._calls:
            waiter = asyncio.Event()
            self._waiters.append(waiter)
            await waiter.wait()


def trace_of(record: calls.CallSession) -> TraceIds:
    """Read the root span of a call from its record."""
    return TraceIds(record.trace.trace_id, record.trace.root_span_id, record.trace.sampled)


def live_of(record: calls.CallSession) -> LiveCall:
    """Make the local state of a call that is not served here, for a single action."""
    return LiveCall(call_id=record.call_id, trace=trace_of(record), template=None, destination=None)


def log_of(record: calls.CallSession) -> FilteringBoundLogger:
    """Give a logger that names the call of a record and its trace."""
    return _log.bind(call_id=record.call_id, trace_id=record.trace.trace_id)
