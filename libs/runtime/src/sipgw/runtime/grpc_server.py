"""A grpc.aio server with health, reflection, keepalive and an address that it does not share."""

from collections.abc import Callable
from typing import Any, cast

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sipgw.runtime.errors import StartupError
from sipgw.runtime.grpc_channel import MAX_MESSAGE_BYTES
from sipgw.runtime.settings import HostPort
from sipgw.runtime.tls import TlsDirectory

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class GrpcServer:
    """A server with one listening address. `add` before `start`; health says SERVING from `start` on.

    With `tls` it serves only clients with a certificate of the same authorities.
    """

    def __init__(
        self, listen: str, *, tls: TlsDirectory | None = None, max_connection_age_s: float | None = None
    ) -> None:
        self._address = HostPort.parse(listen)
        self._tls = tls
        self._server = grpc.aio.server(options=server_options(max_connection_age_s))
        self._health = cast(Any, health).aio.HealthServicer()
        self._names = [health.SERVICE_NAME, reflection.SERVICE_NAME]
        cast(Any, health_pb2_grpc).add_HealthServicer_to_server(self._health, self._server)

    def add(
        self, servicer: Any, add_to_server: Callable[[Any, grpc.aio.Server], None], service_name: str
    ) -> None:
        """Serve `servicer`; `service_name` is the full one, as in "sipgw.api.edge.v1.EdgeService"."""
        add_to_server(servicer, self._server)
        self._names.append(service_name)

    async def start(self) -> int:
        """Bind and serve; return the port really bound.

        Raises StartupError when the address is not available.
        """
        reflection.enable_server_reflection(self._names, self._server)
        try:
            port = self._bind()
        except RuntimeError as error:
            raise StartupError(f"can't listen for gRPC on {self._address}: is the port taken?") from error
        await self.set_serving(True)
        await self._server.start()
        return port

    def _bind(self) -> int:
        if self._tls is None:
            return self._server.add_insecure_port(str(self._address))
        return self._server.add_secure_port(str(self._address), self._tls.server_credentials())

    async def set_serving(self, is_serving: bool) -> None:  # noqa: FBT001 - the one thing the name asks for
        """Set the health status of the server as a whole and of each of its services."""
        status = _SERVING if is_serving else _NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING at once; calls in progress have `grace_s` to end, then are cancelled."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)


def server_options(max_connection_age_s: float | None = None) -> list[tuple[str, int]]:
    """Return the gRPC options of our servers: a server without them turns our clients' pings away."""
    options = [
        ("grpc.so_reuseport", 0),  # with gRPC's default two servers would share the port unnoticed
        ("grpc.keepalive_time_ms", 5000),
        ("grpc.keepalive_timeout_ms", 3000),
        ("grpc.http2.ping_timeout_ms", 3000),  # for gRPC's own pings, which replace a keepalive
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 500),  # our clients ping when idle
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    if max_connection_age_s is not None:
        options += [
            ("grpc.max_connection_age_ms", int(max_connection_age_s * 1000)),
            ("grpc.max_connection_age_grace_ms", 5000),
        ]
    return options
