"""EdgeHangups: ask the edge that owns a call to end it, at the address in its lease."""

from typing import Final

import grpc.aio

from sipgw.api.calls.v1.session_pb2 import CallSession
from sipgw.api.edge.v1.edge_pb2 import HangupRequest
from sipgw.api.edge.v1.edge_pb2_grpc import EdgeServiceStub
from sipgw.calls import CallStore, identity_of, is_ended
from sipgw.registry.edge_channels import EdgeChannels

_TIMEOUT_S: Final = 2.0


class EdgeGone(Exception):
    """The owner's lease has lapsed or it does not answer.

    Ask again once another edge has claimed the call.
    """


class EdgeHangups:
    """Sends hang-ups over the edges' channels."""

    def __init__(self, calls: CallStore, edges: EdgeChannels) -> None:
        self._calls = calls
        self._edges = edges

    async def hang_up(self, session: CallSession, reason: str) -> bool:
        """Return whether an edge accepted; False for an ended call. Raises EdgeGone, StoreUnavailable."""
        if await self._ask(session, reason):
            return True
        current = await self._calls.load(session.call_id)
        if current is None or is_ended(current):
            return False
        if current.owner == session.owner:
            raise EdgeGone(f"edge {session.owner.name} does not know the call")
        return await self._ask(current, reason)

    async def _ask(self, session: CallSession, reason: str) -> bool:
        owner = identity_of(session.owner)
        leases = {lease.identity: lease for lease in await self._edges.live()}
        if owner not in leases:
            raise EdgeGone(f"edge {owner.name} is gone; another claims the call in a few seconds")
        stub = EdgeServiceStub(await self._edges.of(leases[owner]))
        request = HangupRequest(call_id=session.call_id, reason=reason)
        try:
            return (await stub.Hangup(request, timeout=_TIMEOUT_S)).found
        except grpc.aio.AioRpcError as error:
            raise EdgeGone(f"edge {owner.name} does not answer: {error.code().name}") from error
