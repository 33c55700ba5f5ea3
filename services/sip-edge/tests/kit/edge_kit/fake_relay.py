"""A stand-in for a media relay: relay/v1 with its fences and its repeated events, without any media."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc.aio

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.api.relay.v1.control_pb2_grpc import (
    RelayControlServiceServicer,
    add_RelayControlServiceServicer_to_server,
)
from sipgw.runtime.grpc_server import server_options

Outbox: TypeAlias = "asyncio.Queue[pb.ControlResponse | None]"


@dataclass(slots=True)
class FakeSession:
    """A call's session on the fake relay."""

    call_id: str
    spec: pb.Allocate
    media: pb.MediaSpec
    rtp_port: int
    owner_epoch: int
    generation: int
    outbox: Outbox
    is_started: bool = False
    keys: str = ""
    informed: list[pb.Inform] = field(default_factory=list[pb.Inform])


@dataclass(slots=True)
class Handled:
    """A command as it arrived, and its result."""

    kind: str
    command: pb.Command
    status: int


class FakeRelay(RelayControlServiceServicer):
    """A relay: look at `sessions` and `handled`; `emit` events.

    `bot_ready` decides what follows an Allocate.
    """

    def __init__(self, name: str = "relay-0", address: str = "192.0.2.10", *, node: str = "") -> None:
        self.name = name
        self.address = address
        self.node = node
        self.incarnation = secrets.token_hex(8)
        self.sessions: dict[str, FakeSession] = {}
        self.handled: list[Handled] = []
        self.unacked: dict[int, pb.MediaEvent] = {}
        self.bot_ready = True
        self.can_resume = True
        self.ends_late = False
        """Whether the end of a released session is reported only when the test says so."""
        self.loses_results_of: set[str] = set()
        """Kinds of commands that are served but whose results are lost."""
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.absent_bots: set[str] = set()
        """Endpoints of bots that fail before they are ready."""
        self.refuse_allocate: int = 0
        """The CommandStatus of the next Allocates."""
        self.refusal = ""
        """The message of their results."""
        self.refuse_modify: int = 0
        """The CommandStatus of the next Modifies."""
        self.on_command: Callable[[pb.Command], Awaitable[None]] = _nobody
        """Awaited before a command is served, so that a test can change things first."""
        self.dialled = 0
        """How many streams were opened."""
        self._outboxes: set[Outbox] = set()
        self._released: dict[str, tuple[int, int]] = {}
        self._ports = itertools.count(20000, 2)
        self._event_ids = itertools.count(1)
        self._server: grpc.aio.Server | None = None
        self.control_address = ""

    async def start(self, port: int = 0) -> None:
        """Serve on a free port, or on the port it had before."""
        self._server = grpc.aio.server(options=server_options())
        add_RelayControlServiceServicer_to_server(self, self._server)
        bound = self._server.add_insecure_port(f"127.0.0.1:{port}")
        await self._server.start()
        self.control_address = f"127.0.0.1:{bound}"

    def freeze(self) -> None:
        """Stop as SIGSTOP does: connections stay, nothing is served."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Go on as SIGCONT does: what arrived meanwhile is served now."""
        self._thawed.set()

    async def stop(self) -> None:
        """Stop at once, with all sessions."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def break_streams(self) -> None:
        """End every stream; the relay goes on, and edges may connect again."""
        for outbox in self._outboxes:
            outbox.put_nowait(None)

    def commands(self, call_id: str) -> list[str]:
        """The kinds of OK commands for a call, in order."""
        return [
            one.kind
            for one in self.handled
            if one.command.call_id == call_id and one.status == pb.COMMAND_STATUS_OK
        ]

    def emit(self, call_id: str, **event: Any) -> None:
        """Report a media event to the edge that owns the session."""
        session = self.sessions[call_id]
        media_event = pb.MediaEvent(
            event_id=next(self._event_ids), call_id=call_id, generation=session.generation, **event
        )
        self.unacked[media_event.event_id] = media_event
        self._send(session, [media_event])

    async def Control(
        self,
        request_iterator: AsyncIterator[pb.ControlRequest],
        context: "grpc.aio.ServicerContext[pb.ControlRequest, pb.ControlResponse]",
    ) -> AsyncIterator[pb.ControlResponse]:
        self.dialled += 1
        outbox: Outbox = asyncio.Queue()
        self._outboxes.add(outbox)
        reader = asyncio.ensure_future(self._read(request_iterator, outbox))
        try:
            while (response := await outbox.get()) is not None:
                yield response
        finally:
            self._outboxes.discard(outbox)
            reader.cancel()

    async def _read(self, requests: AsyncIterator[pb.ControlRequest], outbox: Outbox) -> None:
        async for request in requests:
            await self._thawed.wait()
            match request.WhichOneof("item"):
                case "attach":
                    me = calls.ProcessIdentity(name=self.name, incarnation=self.incarnation)
                    attached = pb.Attached(relay=me, answers_pings=True)
                    outbox.put_nowait(pb.ControlResponse(attached=attached))
                case "ping":
                    outbox.put_nowait(pb.ControlResponse(pong=pb.Pong()))
                case "commands":
                    for command in request.commands.commands:
                        await self.on_command(command)
                    results = [self._command(command, outbox) for command in request.commands.commands]
                    kinds = [command.WhichOneof("command") for command in request.commands.commands]
                    heard = [
                        result
                        for kind, result in zip(kinds, results, strict=True)
                        if kind not in self.loses_results_of
                    ]
                    outbox.put_nowait(pb.ControlResponse(results=pb.ResultBatch(results=heard)))
                    for command in request.commands.commands:
                        self._after(command)
                case _:
                    for event_id in request.ack.event_ids:
                        self.unacked.pop(event_id, None)

    def _command(self, command: pb.Command, outbox: Outbox) -> pb.CommandResult:
        kind = command.WhichOneof("command") or ""
        result = pb.CommandResult(command_id=command.command_id, call_id=command.call_id)
        result.status = self._serve(kind, command, result, outbox)
        self.handled.append(Handled(kind, command, result.status))
        return result

    def _serve(
        self,
        kind: str,
        command: pb.Command,
        result: pb.CommandResult,
        outbox: Outbox,
    ) -> pb.CommandStatus.ValueType:
        session = self.sessions.get(command.call_id)
        fence = (command.owner_epoch, command.generation)
        if session is None and kind == "release":
            self._released[command.call_id] = fence
        if kind == "allocate" and session is None:
            if fence <= self._released.get(command.call_id, (0, 0)):
                return pb.COMMAND_STATUS_STALE
            if self.refuse_allocate:
                result.message = self.refusal
                return pb.CommandStatus.ValueType(self.refuse_allocate)
            session = self.sessions[command.call_id] = FakeSession(
                command.call_id,
                command.allocate,
                command.allocate.media,
                next(self._ports),
                command.owner_epoch,
                command.generation,
                outbox,
            )
        if session is None:
            return pb.COMMAND_STATUS_OK if kind == "release" else pb.COMMAND_STATUS_NOT_FOUND
        if fence < (session.owner_epoch, session.generation):
            return pb.COMMAND_STATUS_STALE
        if kind == "modify" and self.refuse_modify:
            return pb.CommandStatus.ValueType(self.refuse_modify)
        if kind == "allocate" and fence > (session.owner_epoch, session.generation):
            session.spec = command.allocate
        session.owner_epoch, session.generation = fence
        self._apply(kind, command, session, outbox)
        if kind == "allocate":
            result.allocated.address = self.address
            result.allocated.rtp_port, result.allocated.rtcp_port = session.rtp_port, session.rtp_port + 1
        return pb.COMMAND_STATUS_OK

    def _apply(
        self,
        kind: str,
        command: pb.Command,
        session: FakeSession,
        outbox: Outbox,
    ) -> None:
        match kind:
            case "modify":
                session.media = command.modify.media
            case "start":
                session.is_started = True
            case "inform":
                session.informed.append(command.inform)
            case "press_key":
                session.keys += command.press_key.digit
            case "adopt":
                session.outbox = outbox
                again = [event for event in self.unacked.values() if event.call_id == session.call_id]
                if again:
                    self._send(session, again)
            case "release":
                if not self.ends_late:
                    self.emit(session.call_id, session_ended=pb.SessionEnded(reason=command.release.reason))
                del self.sessions[session.call_id]
                self._released[session.call_id] = (session.owner_epoch, session.generation)
            case _:
                return

    def _after(self, command: pb.Command) -> None:
        is_new = command.HasField("allocate") and command.call_id in self.sessions
        endpoint = command.allocate.bot.endpoint
        if is_new and endpoint in self.absent_bots:
            failed = pb.BotFailed(reason=f"{endpoint} is not there", before_ready=True)
            self.emit(command.call_id, bot_failed=failed)
        elif is_new and self.bot_ready:
            ready = pb.BotReady(
                confirmed=True, address="192.0.2.20:9090", protocol="trunk", can_resume=self.can_resume
            )
            self.emit(command.call_id, bot_ready=ready)

    def _send(self, session: FakeSession, events: list[pb.MediaEvent]) -> None:
        session.outbox.put_nowait(pb.ControlResponse(events=pb.MediaEventBatch(events=events)))


async def _nobody(_command: pb.Command) -> None:
    """Do nothing, until a test sets a callback."""
