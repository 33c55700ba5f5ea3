"""The client of edge/v1: the requests of an edge or the registry to the edge that owns a call."""

from typing import Any, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sipgw.api.edge.v1 import edge_pb2 as pb
from sipgw.api.edge.v1.edge_pb2_grpc import EdgeServiceStub
from sipgw.control.errors import EdgeUnreachable
from sipgw.runtime.grpc_channel import open_channel
from sipgw.runtime.tls import TlsDirectory

DELIVER_TIMEOUT_S = 0.3
_HANGUP_TIMEOUT_S = 2.0
_SAYS_NOTHING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


class EdgeClient:
    """A client of one other edge, at the address in its lease. Any failure raises EdgeUnreachable."""

    def __init__(self, address: str, *, tls: TlsDirectory | None = None) -> None:
        self.address = address
        self._channel = open_channel(address, role="edge", tls=tls)
        self._stub = EdgeServiceStub(self._channel)

    async def deliver(self, request: pb.DeliverRequest) -> pb.DeliverResponse:
        """Hand over a SIP message. After 300 ms without an answer the caller must act alone."""
        try:
            return await self._stub.Deliver(request, timeout=DELIVER_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise EdgeUnreachable(f"edge {self.address}: {error.code().name}: {error.details()}") from None

    async def hangup(self, call_id: str, reason: str) -> bool:
        """End a call; return False when that edge does not own it."""
        request = pb.HangupRequest(call_id=call_id, reason=reason)
        try:
            return (await self._stub.Hangup(request, timeout=_HANGUP_TIMEOUT_S)).found
        except grpc.aio.AioRpcError as error:
            raise EdgeUnreachable(f"edge {self.address}: {error.code().name}: {error.details()}") from None

    async def answers(self, timeout_s: float) -> bool:
        """Return whether the edge answers within `timeout_s`, even with an error."""
        check = cast(Any, health_pb2_grpc).HealthStub(self._channel).Check
        try:
            await check(cast(Any, health_pb2).HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            return error.code() not in _SAYS_NOTHING
        return True

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.close()
