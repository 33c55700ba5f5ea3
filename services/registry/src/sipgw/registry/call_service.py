"""CallRegistryService: the call map over gRPC, and requests to end a call."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import grpc
import grpc.aio

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import CallRegistryServiceServicer
from sipgw.calls import CallStore, CallStream, EdgeLeases, is_ended
from sipgw.registry import metrics
from sipgw.registry.call_registry import CallRegistry, newer_than
from sipgw.registry.call_watch import CallChanged
from sipgw.registry.edge_bans import EdgeBans, NoSource
from sipgw.registry.edge_hangups import EdgeGone, EdgeHangups
from sipgw.registry.errors import RegistryError, WatchExpired
from sipgw.registry.resource_version import ResourceVersion, order_of
from sipgw.registry.summaries import summary_of
from sipgw.runtime.tls import require_role
from sipgw.store import Store, StoreUnavailable

CALL_SERVICE: Final = "sipgw.api.registry.v1.CallRegistryService"
_BOOKMARK_PERIOD_S: Final = 30.0
"""How often a watch without changes gets a later resource version, one that is not trimmed yet."""


class CallService(CallRegistryServiceServicer):
    """Serves a CallRegistry; calls missing in it are looked up in Redis."""

    def __init__(self, store: Store, registry: CallRegistry, hangups: EdgeHangups, bans: EdgeBans) -> None:
        self._bans = bans
        self._calls = CallStore(store)
        self._stream = CallStream(store)
        self._edges = EdgeLeases(store)
        self._registry = registry
        self._hangups = hangups

    async def GetCall(
        self,
        request: pb.GetCallRequest,
        context: "grpc.aio.ServicerContext[pb.GetCallRequest, pb.GetCallResponse]",
    ) -> pb.GetCallResponse:
        """Return one call; NOT_FOUND without it."""
        found = self._registry.get(request.call_id)
        if found is None:
            found = await self._look_up(request.call_id, context)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such call")
        return pb.GetCallResponse(call=found)

    async def ListCalls(
        self,
        request: pb.ListCallsRequest,
        context: "grpc.aio.ServicerContext[pb.ListCallsRequest, pb.ListCallsResponse]",
    ) -> pb.ListCallsResponse:
        """Return all calls and the resource version from which to watch."""
        try:
            calls, version = self._registry.list(include_ended=request.include_ended)
        except RegistryError as error:
            await context.abort(error.code, str(error))
        return pb.ListCallsResponse(calls=calls, resource_version=str(version))

    async def CountCalls(
        self,
        request: pb.CountCallsRequest,
        context: "grpc.aio.ServicerContext[pb.CountCallsRequest, pb.CountCallsResponse]",
    ) -> pb.CountCallsResponse:
        """Return how many calls live."""
        if not self._registry.is_materialised:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the calls have not been read from Redis yet")
        counts = self._registry.count(except_owner=request.except_owner)
        return pb.CountCallsResponse(
            live=counts.live,
            by_route=counts.by_route,
            by_relay=counts.by_relay,
            by_trunk=counts.by_trunk,
            setups_per_s=counts.setups_per_s,
            live_elsewhere=counts.live_elsewhere,
            by_bot_elsewhere=counts.by_bot_elsewhere,
        )

    async def ListEdges(
        self,
        request: pb.ListEdgesRequest,
        context: "grpc.aio.ServicerContext[pb.ListEdgesRequest, pb.ListEdgesResponse]",
    ) -> pb.ListEdgesResponse:
        """Return the edges that hold a lease."""
        try:
            leases = await self._edges.live()
        except StoreUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        edges = [pb.Edge(grpc_address=lease.grpc_address) for lease in leases]
        for edge, lease in zip(edges, leases, strict=True):
            edge.edge.name, edge.edge.incarnation = lease.identity.name, lease.identity.incarnation
        return pb.ListEdgesResponse(edges=edges)

    async def WatchCalls(
        self,
        request: pb.WatchCallsRequest,
        context: "grpc.aio.ServicerContext[pb.WatchCallsRequest, pb.WatchCallsResponse]",
    ) -> AsyncIterator[pb.WatchCallsResponse]:
        """Send all calls in the first message when there is no resource version, then the changes."""
        # tells the watcher that it is attached, even before any change
        await context.send_initial_metadata(())
        with metrics.WATCHES.track_inprogress():
            try:
                async for response in self._watch(request.resource_version):
                    yield response
            except RegistryError as error:
                await context.abort(error.code, str(error))
            except StoreUnavailable as error:
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    async def HangupCall(
        self,
        request: pb.HangupCallRequest,
        context: "grpc.aio.ServicerContext[pb.HangupCallRequest, pb.HangupCallResponse]",
    ) -> pb.HangupCallResponse:
        """Ask the owner edge to end a call."""
        await require_role(context, "operator")
        try:
            session = await self._calls.load(request.call_id) if is_call_id(request.call_id) else None
            if session is None or is_ended(session):
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such call")
            if not await self._hangups.hang_up(session, request.reason):
                await context.abort(grpc.StatusCode.NOT_FOUND, "the call has just ended")
        except (StoreUnavailable, EdgeGone) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return pb.HangupCallResponse()

    async def ListBans(
        self,
        request: pb.ListBansRequest,
        context: "grpc.aio.ServicerContext[pb.ListBansRequest, pb.ListBansResponse]",
    ) -> pb.ListBansResponse:
        """Return the banned sources of all edges."""
        try:
            return await self._bans.list_all()
        except StoreUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    async def LiftBan(
        self,
        request: pb.LiftBanRequest,
        context: "grpc.aio.ServicerContext[pb.LiftBanRequest, pb.LiftBanResponse]",
    ) -> pb.LiftBanResponse:
        """Lift the bans of a source."""
        await require_role(context, "operator")
        try:
            lifted = await self._bans.lift(request.source)
        except NoSource as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except StoreUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        if not lifted.edges and not lifted.silent_edges:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no edge bans {request.source}")
        return lifted

    async def _look_up(
        self, call_id: str, context: "grpc.aio.ServicerContext[pb.GetCallRequest, pb.GetCallResponse]"
    ) -> pb.CallSummary | None:
        if not is_call_id(call_id):
            return None
        try:
            session = await self._calls.load(call_id)
        except StoreUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return None if session is None else summary_of(session)

    async def _watch(self, version_text: str) -> AsyncIterator[pb.WatchCallsResponse]:
        wake = asyncio.Event()
        loop = asyncio.get_running_loop()

        def notify() -> None:
            loop.call_soon_threadsafe(wake.set)

        watch, now = self._registry.watch(notify)
        try:
            if version_text:
                version = ResourceVersion.parse(version_text)
                async with contextlib.aclosing(self._catch_up(version, now)) as batches:
                    async for batch in batches:
                        version = version.advanced(_last_positions(batch))
                        yield _response(batch, version)
            else:
                version = now
                yield pb.WatchCallsResponse(changed=self._registry.list()[0], resource_version=str(version))
            while True:
                is_bookmark = not await _is_set(wake, _BOOKMARK_PERIOD_S)
                wake.clear()
                changes, positions = self._registry.take(watch)
                told = dict(enumerate(version.positions))
                news = [change for change in changes if newer_than(change, told)]
                version = version.advanced(_later(positions, told))
                if news or is_bookmark:
                    yield _response(news, version)
        finally:
            self._registry.unwatch(watch)

    async def _catch_up(
        self, version: ResourceVersion, now: ResourceVersion
    ) -> AsyncGenerator[list[CallChanged], None]:
        """Yield the stream's entries between a client's version and the registry's. Raises WatchExpired."""
        if version.epoch != now.epoch:
            raise WatchExpired("Redis lost data since this version")
        behind = {
            partition: seen
            for partition, (seen, present) in enumerate(zip(version.positions, now.positions, strict=True))
            if order_of(seen) < order_of(present)
        }
        trimmed = await asyncio.gather(*(self._stream.is_trimmed(*place) for place in behind.items()))
        if any(trimmed):
            raise WatchExpired("changes after this version were trimmed")
        while behind and (transitions := await self._stream.follow(behind, block_ms=0)):
            batch = [CallChanged(t.partition, t.position, summary_of(t.session)) for t in transitions]
            behind |= _last_positions(batch)
            yield batch


def is_call_id(text: str) -> bool:
    """Return whether `text` may be a call id, so that it has a partition."""
    return len(text) == 32 and text.isascii() and text.isalnum() and not text.strip("0123456789abcdef")


def _last_positions(changes: list[CallChanged]) -> dict[int, str]:
    return {change.partition: change.position for change in changes if change.position is not None}


async def _is_set(event: asyncio.Event, timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


def _later(positions: dict[int, str], told: dict[int, str]) -> dict[int, str]:
    return {p: position for p, position in positions.items() if order_of(position) > order_of(told[p])}


def _response(changes: list[CallChanged], version: ResourceVersion) -> pb.WatchCallsResponse:
    return pb.WatchCallsResponse(
        changed=[change.summary for change in changes], resource_version=str(version)
    )
