"""Send our requests within calls to the next hop and, if that is silent, to the source of the INVITE.

A peer may name an address in its Contact that we cannot reach. A request without a response for 8*T1, or to a
port that is closed, is sent as a new client transaction with the same CSeq to the second address. The first
one runs on: its timer ends both, and a late response to it counts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sipgw.sip import Address, SipRequest, SipResponse, TransactionKey
from sipgw.sip.transactions.keys import client_key
from sipgw.sip_edge.sip.listeners import refusal_of
from sipgw.sip_edge.sip.server import SipServer

_AFTER_T1S: Final = 8
"""After so many T1 without a response a request takes the second way: 4 s (RFC 3261 has T1 = 0.5 s)."""
_KEPT_S: Final = 64.0
"""How long the outcome of an INVITE is kept for a task that takes the same step again."""
Send = Callable[[SipRequest, Address], Awaitable[SipResponse | None]]


class Ways(NamedTuple):
    """Where a request goes, and where else if that does not respond; None: nowhere else."""

    first: Address
    second: Address | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The final response to a request; None: there was none. `by_second`: it came by the second way."""

    response: SipResponse | None
    by_second: bool = field(default=False, kw_only=True)

    @property
    def status(self) -> int:
        """The status of the response; 408: there was none."""
        return self.response.status if self.response is not None else 408


@dataclass(frozen=True, slots=True)
class _Twin:
    """An INVITE sent by the second way, and its outcome."""

    request: SipRequest
    destination: Address
    reply: Reply | None = None


class SecondWay:
    """Sends requests by one way or two."""

    def __init__(self, sip: SipServer, t1_s: float) -> None:
        self._sip = sip
        self._t1_s = t1_s
        self._twins: dict[TransactionKey, _Twin] = {}

    async def request(self, request: SipRequest, ways: Ways) -> Reply:
        """Send a request other than INVITE."""
        return await self._send(request, ways, self._sip.request)

    async def invite(self, request: SipRequest, ways: Ways, *, patience_s: float) -> Reply:
        """Send an INVITE with a branch, as `SipServer.invite` does."""
        known = self._twins.get(client_key(request))
        if known is not None and known.reply is not None:
            return known.reply

        async def send(invite: SipRequest, destination: Address) -> SipResponse | None:
            return await self._sip.invite(invite, destination, patience_s=patience_s)

        reply = await self._send(request, ways, send)
        if reply.by_second:
            self._twins[client_key(request)] = _Twin(
                self._twins[client_key(request)].request, ways.second or ways.first, reply
            )
        return reply

    def acknowledge(self, invite: SipRequest, ack: SipRequest, destination: Address) -> None:
        """Send the ACK of a 2xx, and again for each repeated 2xx, by the way that the 2xx came."""
        twin = self._twins.get(client_key(invite))
        if twin is None:
            self._sip.acknowledge(invite, ack, destination)
        elif twin.reply is None:
            self._sip.acknowledge(invite, ack, destination, also=twin.request)
        else:
            self._sip.acknowledge(twin.request, ack, twin.destination, also=invite)

    async def _send(self, request: SipRequest, ways: Ways, send: Send) -> Reply:
        if ways.second is None or ways.second == ways.first:
            return Reply(await send(request, ways.first))
        first = asyncio.ensure_future(send(request, ways.first))
        refusal = asyncio.ensure_future(self._refusal_of(ways.first))
        try:
            await asyncio.wait(
                {first, refusal}, timeout=_AFTER_T1S * self._t1_s, return_when=asyncio.FIRST_COMPLETED
            )
            if first.done() or self._sip.has_progressed(request):
                return Reply(await first)
            return await self._send_second(first, request, ways.second, send)
        finally:
            refusal.cancel()
            first.cancel()

    async def _refusal_of(self, destination: Address) -> None:
        """Return when an ICMP error is known; ask only once a response is late."""
        await asyncio.sleep(self._t1_s)
        await refusal_of(destination)

    async def _send_second(
        self, first: "asyncio.Future[SipResponse | None]", request: SipRequest, second: Address, send: Send
    ) -> Reply:
        twin = SipRequest(request.method, request.uri, request.headers.copy(), request.body)
        twin.headers.replace_first("Via", str(request.via.with_params(branch=self._sip.new_branch())))
        if request.method == "INVITE":
            key = client_key(request)
            self._twins[key] = _Twin(twin, second)
            asyncio.get_running_loop().call_later(_KEPT_S, self._twins.pop, key, None)
        other = asyncio.ensure_future(send(twin, second))
        try:
            await asyncio.wait({first, other}, return_when=asyncio.FIRST_COMPLETED)
            is_first_silent = not first.done() or first.result() is None
            if is_first_silent and other.done() and other.result() is not None:
                if request.method != "INVITE":  # a late 2xx to an INVITE still needs its ACK
                    self._sip.forget(client_key(request))
                return Reply(other.result(), by_second=True)
            return Reply(await first)
        finally:
            other.cancel()
