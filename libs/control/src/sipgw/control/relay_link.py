"""One edge's stream to one relay (relay/v1): commands out in batches, media events in, pings."""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from sipgw.api.calls.v1.session_pb2 import ProcessIdentity
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.api.relay.v1.control_pb2_grpc import RelayControlServiceStub
from sipgw.control.errors import RelayRefused, RelayUnreachable
from sipgw.control.media_events import EventHandler, EventInbox
from sipgw.control.pending import PendingCommands
from sipgw.control.probe import is_refused
from sipgw.control.reconnect import StreamStalled, keep_connected, pump
from sipgw.runtime.grpc_channel import open_channel
from sipgw.runtime.settings import Identity
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.tls import TlsDirectory

if TYPE_CHECKING:
    import grpc.aio

_ATTACH_TIMEOUT_S = 2.0
PING_PERIOD_S = 0.2
STALLED_AFTER_S = 0.7
"""A stopped process keeps its connections, so a relay that answers no ping for so long counts as gone."""


class _Replaced(Exception):
    """Another incarnation has the address: the relay of this link is gone for ever."""


class RelayLink:
    """A link that attaches at the first command or at `open`, and again after every break.

    It ends with `aclose`, or when another relay answers at the address. Commands are idempotent and fenced by
    (owner_epoch, generation): a command that met a break is sent again within its deadline. Commands raise
    RelayRefused when the relay refuses, RelayUnreachable when it does not answer.
    """

    def __init__(
        self,
        address: str,
        edge: Identity,
        on_event: EventHandler,
        *,
        expected: Identity | None = None,
        on_attached: Callable[[Identity], None] | None = None,
        on_refused: Callable[[], None] | None = None,
        tls: TlsDirectory | None = None,
        deadline_s: float = 1.0,
        ping_period_s: float = PING_PERIOD_S,
        stalled_after_s: float = STALLED_AFTER_S,
    ) -> None:
        """Take the callbacks. `on_event` may be async; the event is acknowledged after it.

        With `expected`, another relay (a container restarted at the same address) gets no commands: the link
        is `is_replaced` and dials no more. `on_attached` is called with the relay's identity at each attach
        and when it changes. `on_refused` is called when nobody listens at the address: the process is gone.
        """
        self.address = address
        self.relay: Identity | None = None
        """The relay that answered last at this address."""
        self.answers_pings = False
        """Whether its silence means something: a relay of an older release does not answer pings."""
        self.is_replaced = False
        """Whether a relay other than the expected one has answered."""
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._late_s = 0.0
        self._ping_period_s = ping_period_s
        self._stalled_after_s = stalled_after_s
        self._is_ping_due = False
        self._edge = edge
        self._expected = expected
        self._tls = tls
        self._on_attached = on_attached
        self._on_refused = on_refused
        self._pending: PendingCommands[pb.Command, pb.CommandResult] = PendingCommands(
            f"relay {address}", RelayUnreachable, deadline_s
        )
        self._inbox = EventInbox(on_event, self._pending.wake)
        self._attached = asyncio.Event()
        self._tasks = TaskGroupOwner(f"relay-link {address}")

    @property
    def is_connected(self) -> bool:
        """Whether the relay has answered on the present stream."""
        return self._attached.is_set()

    @property
    def silent_s(self) -> float:
        """Time since the relay last sent anything, or since we began to ask, less our own lateness."""
        return max(0.0, self._loop.time() - self._heard_at - self._late_s)

    @property
    def heard_at(self) -> float:
        """When the relay last sent anything, or when we began to ask, by the loop's clock."""
        return self._heard_at

    def open(self) -> None:
        """Begin to attach, if not yet begun."""
        if not len(self._tasks) and not self.is_replaced:
            self._note_heard()
            self._tasks.spawn(self._run(), "stream")
            self._tasks.spawn(self._ping(), "ping")

    async def wait_connected(self) -> None:
        """Return when attached. The caller sets the timeout."""
        self.open()
        await self._attached.wait()

    async def aclose(self) -> None:
        """Detach. Events not yet handled stay with the relay; waiting commands get RelayUnreachable."""
        await self._tasks.aclose()
        await self._inbox.aclose()
        self._attached.clear()
        self._pending.fail_all("link closed")

    async def allocate(
        self, call_id: str, *, generation: int, owner_epoch: int, spec: pb.Allocate
    ) -> pb.Allocated:
        """Allocate ports for the call and open its bot stream.

        The same generation gets the same ports again.
        """
        command = pb.Command(call_id=call_id, generation=generation, owner_epoch=owner_epoch, allocate=spec)
        return (await self._ask(command)).allocated

    async def modify(self, call_id: str, *, generation: int, owner_epoch: int, media: pb.MediaSpec) -> None:
        """Set new media parameters."""
        modify = pb.Modify(media=media)
        await self._ask(
            pb.Command(call_id=call_id, generation=generation, owner_epoch=owner_epoch, modify=modify)
        )

    async def start(self, call_id: str, *, generation: int, owner_epoch: int) -> None:
        """Begin playout: the call is answered, or goes on here after a move."""
        start = pb.Start()
        await self._ask(
            pb.Command(call_id=call_id, generation=generation, owner_epoch=owner_epoch, start=start)
        )

    async def release(
        self, call_id: str, *, generation: int, owner_epoch: int, reason: str, moved: bool = False
    ) -> None:
        """End the session; SessionEnded follows as an event. `moved`: another relay has the call."""
        release = pb.Release(reason=reason, moved=moved)
        await self._ask(
            pb.Command(call_id=call_id, generation=generation, owner_epoch=owner_epoch, release=release)
        )

    async def adopt(
        self, call_id: str, *, generation: int, owner_epoch: int, acknowledged: bool = False
    ) -> None:
        """Own the session from now on: its events come to this link. For `acknowledged` see `acknowledge`."""
        adopt = pb.Adopt(acknowledged=acknowledged)
        await self._ask(
            pb.Command(call_id=call_id, generation=generation, owner_epoch=owner_epoch, adopt=adopt)
        )

    async def acknowledge(self, call_id: str, *, generation: int, owner_epoch: int) -> None:
        """Tell the relay that the caller has acknowledged our answer to its last description."""
        acknowledge = pb.Acknowledge()
        await self._ask(
            pb.Command(
                call_id=call_id, generation=generation, owner_epoch=owner_epoch, acknowledge=acknowledge
            )
        )

    async def inform(self, call_id: str, *, generation: int, owner_epoch: int, inform: pb.Inform) -> None:
        """Send the bot a notice."""
        await self._ask(
            pb.Command(call_id=call_id, generation=generation, owner_epoch=owner_epoch, inform=inform)
        )

    async def press_key(self, call_id: str, *, generation: int, owner_epoch: int, press: pb.PressKey) -> None:
        """Tell the bot of a key that the caller's signalling named."""
        await self._ask(
            pb.Command(call_id=call_id, generation=generation, owner_epoch=owner_epoch, press_key=press)
        )

    async def list_sessions(self) -> list[pb.SessionState]:
        """Return all sessions of the relay, of any owner."""
        return list((await self._ask(pb.Command(list=pb.List()))).sessions)

    async def _ask(self, command: pb.Command) -> pb.CommandResult:
        if self.is_replaced:
            raise RelayUnreachable(f"{self.relay} answers in place of {self._expected}")
        self.open()
        result = await self._pending.submit(command)
        if result.status != pb.COMMAND_STATUS_OK:
            raise RelayRefused(result.status, result.message)
        return result

    async def _run(self) -> None:
        async with open_channel(self.address, role="relay", tls=self._tls) as channel:
            stub = RelayControlServiceStub(channel)
            session = functools.partial(self._session, stub.Control)
            with contextlib.suppress(_Replaced):
                await keep_connected(f"relay {self.address}", session, self._went_down)

    async def _session(
        self,
        control: "Callable[[], grpc.aio.StreamStreamCall[pb.ControlRequest, pb.ControlResponse]]",
        established: Callable[[], None],
    ) -> None:
        self._pending.begin_attempt()
        call = control()
        try:
            async with asyncio.timeout(_ATTACH_TIMEOUT_S):
                relay = _wire(self._expected) if self._expected is not None else None
                await call.write(pb.ControlRequest(attach=pb.Attach(edge=_wire(self._edge), relay=relay)))
                first = await call.read()
        except TimeoutError:
            call.cancel()
            raise StreamStalled("no answer to attach") from None
        if not isinstance(first, pb.ControlResponse) or not first.HasField("attached"):
            call.cancel()
            raise StreamStalled("the first answer is not Attached")
        self.answers_pings = first.attached.answers_pings
        found = Identity(first.attached.relay.name, first.attached.relay.incarnation)
        if self._expected is not None and found != self._expected:
            call.cancel()
            self._replaced(found)
            raise _Replaced
        self._attach(found)
        established()
        await pump(call, self._receive, self._next_request)

    def _attach(self, relay: Identity) -> None:
        if self.relay != relay:
            self._inbox.forget()
        self.relay = relay
        self._note_heard()
        self._pending.restart()
        self._attached.set()
        if self._on_attached is not None:
            self._on_attached(relay)

    def _replaced(self, found: Identity) -> None:
        self.relay = found
        self.is_replaced = True
        self._pending.fail_all(f"{found} answers in place of {self._expected}")
        if self._on_attached is not None:
            self._on_attached(found)

    def _went_down(self, was_attached: bool) -> None:  # noqa: FBT001 - keep_connected's callback
        self._attached.clear()
        if not was_attached:
            self._pending.fail_attempt("not there")
        if self._on_refused is not None:
            self._tasks.spawn(self._probe(self._on_refused), "probe")

    async def _probe(self, on_refused: Callable[[], None]) -> None:
        """Check whether anybody listens.

        Streams break for many reasons; a refused connection means that the process is gone.
        """
        if await is_refused(self.address):
            on_refused()

    async def _ping(self) -> None:
        """Ping each period; give up the stream when nothing has come for too long."""
        while not self.is_replaced:
            began = self._loop.time()
            await asyncio.sleep(self._ping_period_s)
            self._late_s += max(0.0, self._loop.time() - began - self._ping_period_s)
            if not self.is_connected or not self.answers_pings:
                continue
            if self.silent_s > self._stalled_after_s:
                self._pending.stall(f"answers no ping for {self.silent_s:.1f} s")
            self._is_ping_due = True
            self._pending.wake()

    def _receive(self, response: pb.ControlResponse) -> None:
        self._pending.heard()
        self._note_heard()
        match response.WhichOneof("item"):
            case "results":
                for result in response.results.results:
                    self._pending.resolve(result)
            case "events":
                for event in response.events.events:
                    self._inbox.receive(event)
            case _:
                pass

    def _note_heard(self) -> None:
        self._heard_at = self._loop.time()
        self._late_s = 0.0

    async def _next_request(self) -> pb.ControlRequest:
        """Return the next message to write.

        Acknowledgements and commands take turns; a remainder wakes it again.
        """
        while True:
            await self._pending.wait()
            if self._is_ping_due:
                self._is_ping_due = False
                self._pending.wake()
                return pb.ControlRequest(ping=pb.Ping())
            if acks := self._inbox.take_acks():
                self._pending.wake()
                return pb.ControlRequest(ack=pb.EventAck(event_ids=acks))
            if commands := self._pending.take_batch():
                return pb.ControlRequest(commands=pb.CommandBatch(commands=commands))


def _wire(identity: Identity) -> ProcessIdentity:
    return ProcessIdentity(name=identity.name, incarnation=identity.incarnation)
