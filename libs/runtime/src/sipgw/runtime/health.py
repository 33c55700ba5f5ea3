"""Probes: the answers of a process over HTTP (/healthz, /readyz) and gRPC (`liveness`, `readiness`).

The gRPC port is plaintext and serves only health, since a kubelet's probes speak no TLS.
"""

from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2
from prometheus_client import REGISTRY, CollectorRegistry

from sipgw.runtime.admin_http import AdminServer
from sipgw.runtime.errors import StartupError
from sipgw.runtime.settings import HostPort
from sipgw.runtime.vitals import Vitals

LIVENESS: Final = "liveness"
READINESS: Final = "readiness"
_SERVICE: Final = "grpc.health.v1.Health"


class Probes:
    """The admin and health ports of a process; a flag can leave out either."""

    def __init__(
        self,
        vitals: Vitals,
        *,
        admin: HostPort | None = None,
        health: HostPort | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._admin_address = admin
        self._admin = AdminServer(admin.host, admin.port, vitals, registry=registry) if admin else None
        self._health = HealthServer(health, vitals) if health else None

    async def start(self) -> dict[str, str]:
        """Bind and serve; return the addresses really bound. Raises StartupError."""
        bound: dict[str, str] = {}
        if self._admin is not None and self._admin_address is not None:
            bound["admin"] = str(HostPort(self._admin_address.host, await self._admin.start()))
        if self._health is not None:
            bound["health"] = str(await self._health.start())
        return bound

    async def aclose(self) -> None:
        """Stop listening."""
        if self._health is not None:
            await self._health.aclose()
        if self._admin is not None:
            await self._admin.aclose()


class HealthServer:
    """grpc.health.v1 without Watch; the empty service name means readiness."""

    def __init__(self, address: HostPort, vitals: Vitals) -> None:
        self._address = address
        self._answers = {LIVENESS: vitals.is_live, READINESS: vitals.is_ready, "": vitals.is_ready}
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        check = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(_SERVICE, {"Check": check})
        self._server.add_generic_rpc_handlers((handler,))

    async def start(self) -> HostPort:
        """Bind and serve; return the address really bound. Raises StartupError when it is not available."""
        try:
            port = self._server.add_insecure_port(str(self._address))
        except RuntimeError as error:
            raise StartupError(f"can't listen for health on {self._address}: is the port taken?") from error
        await self._server.start()
        return HostPort(self._address.host, port)

    async def aclose(self) -> None:
        """Stop listening."""
        await self._server.stop(0)

    async def _check(
        self,
        request: health_pb2.HealthCheckRequest,
        context: "grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]",
    ) -> health_pb2.HealthCheckResponse:
        answer = self._answers.get(request.service)
        if answer is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"ask for {LIVENESS} or {READINESS}")
        is_well = answer()
        statuses = health_pb2.HealthCheckResponse
        return statuses(status=statuses.SERVING if is_well else statuses.NOT_SERVING)
