"""EdgeHangups: asks the edge that owns a call to end it, by the address in its lease."""

from typing import Final

import grpc.aio

from sipgw.api.calls.v1.session_pb2 import CallSession
from sipgw.api.edge.v1.edge_pb2 import HangupRequest
from sipgw.api.edge.v1.edge_pb2_grpc import EdgeServiceStub
from sipgw.calls import CallStore, EdgeLeases, identity_of, is_ended
from sipgw.runtime.grpc_channel import open_channel
from sipgw.runtime.tls import TlsDirectory

_TIMEOUT_S: Final = 2.0


class EdgeGone(Exception):  # noqa: N818 - a state of the world
    """The owner's lease has lapsed or it does not answer: ask again when another has claimed the call."""


class EdgeHangups:
    """Keeps a channel for each edge that it has talked to."""

    def __init__(self, calls: CallStore, leases: EdgeLeases, *, tls: TlsDirectory | None = None) -> None:
        self._tls = tls
        self._calls = calls
        self._leases = leases
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def hang_up(self, session: CallSession, reason: str) -> bool:
        """Whether an edge took the wish; False when the call has ended. Raises EdgeGone, StoreUnavailable."""
        if await self._ask(session, reason):
            return True
        current = await self._calls.load(session.call_id)
        if current is None or is_ended(current):
            return False
        if current.owner == session.owner:
            raise EdgeGone(f"edge {session.owner.name} does not know the call")
        return await self._ask(current, reason)

    async def aclose(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def _ask(self, session: CallSession, reason: str) -> bool:
        owner = identity_of(session.owner)
        leases = {lease.identity: lease.grpc_address for lease in await self._leases.live()}
        if owner not in leases:
            raise EdgeGone(f"edge {owner.name} is gone; another claims the call in a few seconds")
        stub = EdgeServiceStub(await self._channel(leases[owner], set(leases.values())))
        request = HangupRequest(call_id=session.call_id, reason=reason)
        try:
            return (await stub.Hangup(request, timeout=_TIMEOUT_S)).found
        except grpc.aio.AioRpcError as error:
            raise EdgeGone(f"edge {owner.name} does not answer: {error.code().name}") from error

    async def _channel(self, address: str, live: set[str]) -> grpc.aio.Channel:
        for gone in [known for known in self._channels if known not in live]:
            await self._channels.pop(gone).close()
        if address not in self._channels:
            self._channels[address] = open_channel(address, role="edge", tls=self._tls)
        return self._channels[address]
