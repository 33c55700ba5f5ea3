"""The servicer of relay/v1: one stream for each edge.

Commands come in batches; results and media events go back in batches.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio

from sipgw.api.calls.v1 import session_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.api.relay.v1.control_pb2_grpc import RelayControlServiceServicer
from sipgw.media_relay.calls.event_log import EventLog
from sipgw.media_relay.control.commands import Commands
from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.tls import require_role

SERVICE_NAME = "sipgw.api.relay.v1.RelayControlService"
_MOST_EVENTS = 1000
"""Events in one message."""
_log = get_logger("sipgw.media_relay.service")


class _EdgeStream:
    """The results and events to write to one edge; each message takes all that is waiting."""

    def __init__(self) -> None:
        self._results: list[pb.CommandResult] = []
        self._events: list[pb.MediaEvent] = []
        self._owes_pong = False
        self._wake = asyncio.Event()
        self._is_closed = False

    def send_event(self, event: pb.MediaEvent) -> None:
        self._events.append(event)
        self._wake.set()

    def send_results(self, results: list[pb.CommandResult]) -> None:
        self._results += results
        self._wake.set()

    def send_pong(self) -> None:
        self._owes_pong = True
        self._wake.set()

    def close(self) -> None:
        self._is_closed = True
        self._wake.set()

    async def messages(self) -> AsyncIterator[pb.ControlResponse]:
        """Yield messages until closed.

        Results go first, since an event may concern a call that they announce.
        """
        while not self._is_closed:
            await self._wake.wait()
            self._wake.clear()
            if self._owes_pong:
                self._owes_pong = False
                yield pb.ControlResponse(pong=pb.Pong())
            if self._results:
                results, self._results = self._results, []
                yield pb.ControlResponse(results=pb.ResultBatch(results=results))
            while self._events:
                events, self._events = self._events[:_MOST_EVENTS], self._events[_MOST_EVENTS:]
                yield pb.ControlResponse(events=pb.MediaEventBatch(events=events))


class RelayControlServicer(RelayControlServiceServicer):
    """Adapter between an edge's stream and the commands on sessions."""

    def __init__(self, identity: Identity, commands: Commands, events: EventLog) -> None:
        self._identity = identity
        self._commands = commands
        self._events = events
        self._streams: set[_EdgeStream] = set()

    def close_streams(self) -> None:
        """Close all streams, so that every edge attaches again and says which sessions it still owns."""
        for stream in self._streams:
            stream.close()

    async def Control(
        self,
        request_iterator: AsyncIterator[pb.ControlRequest],
        context: grpc.aio.ServicerContext[pb.ControlRequest, pb.ControlResponse],
    ) -> AsyncIterator[pb.ControlResponse]:
        """Serve one edge's stream. The first message must be Attach."""
        await require_role(context, "edge")
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or first.WhichOneof("item") != "attach":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be attach")
            return
        edge = f"{first.attach.edge.name}/{first.attach.edge.incarnation}"
        me = session_pb2.ProcessIdentity(name=self._identity.name, incarnation=self._identity.incarnation)
        attached = pb.ControlResponse(attached=pb.Attached(relay=me, answers_pings=True))
        if first.attach.HasField("relay") and first.attach.relay != me:
            _log.info("edge_turned_away", edge=edge, meant_for=first.attach.relay.incarnation)
            yield attached
            return
        stream = _EdgeStream()
        self._events.attach(edge, stream)
        self._streams.add(stream)
        _log.info("edge_attached", edge=edge)
        yield attached
        self._commands.replay_events(edge)
        reading = asyncio.create_task(self._read(requests, edge, stream), name=f"control/{edge}")
        try:
            async for message in stream.messages():
                yield message
        finally:
            reading.cancel()
            self._streams.discard(stream)
            self._events.detach(edge, stream)
            _log.info("edge_detached", edge=edge)

    async def _read(self, requests: AsyncIterator[pb.ControlRequest], edge: str, stream: _EdgeStream) -> None:
        try:
            async for request in requests:
                match request.WhichOneof("item"):
                    case "commands":
                        execute = self._commands.execute
                        stream.send_results([execute(each, edge) for each in request.commands.commands])
                    case "ack":
                        self._events.ack(request.ack.event_ids)
                    case "ping":
                        stream.send_pong()
                    case _:
                        pass
        except grpc.aio.AioRpcError:
            pass  # the stream broke; the edge will connect again
        finally:
            stream.close()
