"""Compute the id of a call from its INVITE, with a key that all edges share (ADR 0004), and make our tag."""

import asyncio
from collections.abc import Awaitable, Callable

from sipgw.calls import call_id_for
from sipgw.sip import SipRequest
from sipgw.sip_edge.sip.identifiers import invite_call_key
from sipgw.sip_edge.sip.local_tags import LocalTags


class CallIds:
    """Computes call ids and makes tags. StoreUnavailable is raised until the keys are known."""

    def __init__(self, key: Callable[[], Awaitable[bytes]], tags: LocalTags) -> None:
        self._key = key
        self._tags = tags

    async def learn_keys(self) -> None:
        """Get the keys before the first call needs them."""
        await asyncio.gather(self._key(), self._tags.learn_key())

    async def of(self, request: SipRequest) -> str:
        """Compute the id of the call that an INVITE or its CANCEL belongs to. Raises StoreUnavailable."""
        key = await self._key()
        return call_id_for(
            request.call_id, invite_call_key(request.from_.tag or "", request.cseq.number), key
        )

    async def new_tag(self, call_id: str) -> str:
        """Make a new tag of ours for a call. Raises StoreUnavailable."""
        return await self._tags.make(call_id)
