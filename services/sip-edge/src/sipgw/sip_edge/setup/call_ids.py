"""Compute the id of a call from its INVITE, with a key that all edges share (ADR 0004)."""

from collections.abc import Awaitable, Callable

from sipgw.calls import call_id_for
from sipgw.sip import SipRequest
from sipgw.sip_edge.sip.identifiers import invite_call_key


class CallIds:
    """Computes call ids. StoreUnavailable is raised until the key is known."""

    def __init__(self, key: Callable[[], Awaitable[bytes]]) -> None:
        self._key = key

    async def learn_key(self) -> None:
        """Get the key before the first call needs it."""
        await self._key()

    async def of(self, request: SipRequest) -> str:
        """Compute the id of the call that an INVITE or its CANCEL belongs to. Raises StoreUnavailable."""
        key = await self._key()
        return call_id_for(
            request.call_id, invite_call_key(request.from_.tag or "", request.cseq.number), key
        )
