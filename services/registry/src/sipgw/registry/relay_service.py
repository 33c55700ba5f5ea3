"""RelayRegistrationService: relays register, send heartbeats, are listed and drained."""

from collections.abc import AsyncIterator

import grpc
import grpc.aio

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import RelayRegistrationServiceServicer
from sipgw.registry import metrics
from sipgw.registry.placement import Beat, Placements
from sipgw.registry.placement_scripts import RELAY_LEASE_MS
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.tls import require_role
from sipgw.store import StoreUnavailable

RELAY_SERVICE = "sipgw.api.registry.v1.RelayRegistrationService"


class RelayService(RelayRegistrationServiceServicer):
    """The servicer. It keeps no state: the lease is in Redis, so a relay may use any replica."""

    def __init__(self, placements: Placements) -> None:
        self._placements = placements
        self._log = get_logger("sipgw.registry.relays")

    async def Heartbeat(
        self,
        request_iterator: AsyncIterator[pb.HeartbeatRequest],
        context: "grpc.aio.ServicerContext[pb.HeartbeatRequest, pb.HeartbeatResponse]",
    ) -> AsyncIterator[pb.HeartbeatResponse]:
        """Answer each heartbeat. The stream ends with UNAVAILABLE when Redis does not take one."""
        await require_role(context, "relay")
        registration: pb.RelayRegistration | None = None
        async for request in request_iterator:
            try:
                if request.HasField("registration"):
                    if not request.registration.relay.name or not request.registration.relay.incarnation:
                        await context.abort(
                            grpc.StatusCode.INVALID_ARGUMENT, "a relay has name and incarnation"
                        )
                    registration = request.registration
                    await self._register(registration)
                yield await self._beat(registration, request)
            except StoreUnavailable as error:
                metrics.BEATS.labels("redis_away").inc()
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    async def ListRelays(
        self,
        request: pb.ListRelaysRequest,
        context: "grpc.aio.ServicerContext[pb.ListRelaysRequest, pb.ListRelaysResponse]",
    ) -> pb.ListRelaysResponse:
        """Return all relays."""
        try:
            return pb.ListRelaysResponse(relays=await self._placements.relays())
        except StoreUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    async def DrainRelay(
        self,
        request: pb.DrainRelayRequest,
        context: "grpc.aio.ServicerContext[pb.DrainRelayRequest, pb.DrainRelayResponse]",
    ) -> pb.DrainRelayResponse:
        """Drain a relay, or take it back; NOT_FOUND without it."""
        await require_role(context, "operator")
        try:
            is_found = await self._placements.drain(request.name, is_draining=request.drain)
        except StoreUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        if not is_found:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no live relay is named {request.name!r}")
        self._log.info("relay_drain_changed", relay=request.name, drain=request.drain)
        return pb.DrainRelayResponse()

    async def _register(self, registration: pb.RelayRegistration) -> None:
        await self._placements.register(registration)
        self._log.info(
            "relay_registered",
            relay=registration.relay.name,
            incarnation=registration.relay.incarnation,
            control_address=registration.control_address,
            ordinal=registration.ordinal,
            lane=registration.lane,
            capacity_units=registration.capacity_units,
        )

    async def _beat(
        self, registration: pb.RelayRegistration | None, request: pb.HeartbeatRequest
    ) -> pb.HeartbeatResponse:
        if registration is None:
            return pb.HeartbeatResponse(not_registered=True, lease_ms=RELAY_LEASE_MS)
        beat = Beat(
            request.call_ids,
            request.used_units,
            request.draining,
            request.ports_free,
            is_full=request.full,
            is_late=request.late,
        )
        drain = await self._placements.beat(registration, beat)
        metrics.BEATS.labels("unregistered" if drain is None else "taken").inc()
        return pb.HeartbeatResponse(not_registered=drain is None, drain=bool(drain), lease_ms=RELAY_LEASE_MS)
