"""A SIP caller that does exactly what a test says: each message sent, each response awaited, to any edge."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from sipgw.runtime.patience import patient
from sipgw.sip import (
    Address,
    Dialog,
    SipRequest,
    SipResponse,
    make_ack,
    make_cancel,
    make_response,
    new_request,
    parse_message,
    parse_uri,
    serialize,
)

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
)
HELD_SDP = SDP.replace(b"o=- 1 1", b"o=- 1 2").replace(b"sendrecv", b"sendonly")
_TIMEOUT_S = 5.0


class Caller(asyncio.DatagramProtocol):
    """One UDP socket and everything that it received."""

    def __init__(self) -> None:
        self.responses: list[SipResponse] = []
        self.requests: list[SipRequest] = []
        self.invites: list[SipRequest] = []
        """The INVITEs sent, in order."""
        self._news = asyncio.Event()
        self._transport: asyncio.DatagramTransport | None = None
        self.host, self.port = "", 0
        self.answer_requests = True
        self.statuses: dict[str, int | None] = {}
        """By method: the status to respond with instead of 200; None: no response at all."""
        self.answer_sdp = SDP
        self.is_deaf = False

    @classmethod
    async def open(cls, host: str = "127.0.0.1") -> "Caller":
        """Open a caller on a free port of the loopback."""
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_datagram_endpoint(cls, local_addr=(host, 0))
        return caller

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport
        self.host, self.port = transport.get_extra_info("sockname")[:2]

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if self.is_deaf:
            return
        message = parse_message(data)
        if isinstance(message, SipResponse):
            self.responses.append(message)
        else:
            self.requests.append(message)
            if self.answer_requests and message.method != "ACK":
                self._answer(message, Address("UDP", addr[0], addr[1]))
        self._news.set()

    def _answer(self, request: SipRequest, to: Address) -> None:
        status = self.statuses.get(request.method, 200)
        if status is None:
            return
        if request.method == "INVITE" and status == 200:
            ok = make_response(
                request, 200, contact=self.contact, body=self.answer_sdp, content_type="application/sdp"
            )
            self.send(ok, to)
        else:
            self.send(make_response(request, status), to)

    def send(self, message: SipRequest | SipResponse | bytes, to: Address) -> None:
        """Send one datagram."""
        assert self._transport is not None
        data = message if isinstance(message, bytes) else serialize(message)
        self._transport.sendto(data, (to.host, to.port))

    @property
    def via(self) -> str:
        """Make a new Via of ours."""
        return f"SIP/2.0/UDP {self.host}:{self.port};rport;branch=z9hG4bK{secrets.token_hex(8)}"

    @property
    def contact(self) -> str:
        """The Contact of this caller."""
        return f"<sip:alice@{self.host}:{self.port}>"

    def request(self, method: str, uri: str = "sip:bot@127.0.0.1", **fields: Any) -> SipRequest:
        """Make a request outside of any dialog."""
        fields = {
            "from_": f"<sip:alice@{self.host}:{self.port}>;tag={secrets.token_hex(4)}",
            "to": f"<{uri}>",
            "call_id": secrets.token_hex(8),
            "cseq": 1,
            "via": self.via,
            "contact": self.contact,
            **fields,
        }
        return new_request(method, parse_uri(uri), **fields)

    def invite(self, uri: str = "sip:bot@127.0.0.1", *, sdp: bytes = SDP, **fields: Any) -> SipRequest:
        """Make an INVITE with an offer."""
        made = self.request("INVITE", uri, body=sdp, content_type="application/sdp", **fields)
        self.invites.append(made)
        return made

    async def response(
        self, request: SipRequest, status: int | None = None, *, within_s: float = _TIMEOUT_S
    ) -> SipResponse:
        """Wait for the first response to `request` with that status, or the first final one."""

        def wanted() -> SipResponse | None:
            branch = request.via.branch
            for response in self.responses:
                is_its = response.via.branch == branch and response.cseq == request.cseq
                if is_its and (response.status == status if status else response.status >= 200):
                    return response
            return None

        return await self._until(wanted, f"{status or 'final'} to {request.method}", within_s)

    async def peer_request(self, method: str, count: int = 1, *, within_s: float = _TIMEOUT_S) -> SipRequest:
        """Wait for the `count`th request of this method from the gateway; copies do not count."""

        def wanted() -> SipRequest | None:
            found = {one.via.branch: one for one in self.requests if one.method == method}
            return list(found.values())[count - 1] if len(found) >= count else None

        return await self._until(wanted, f"a {method}", within_s)

    def count(self, request: SipRequest, status: int) -> int:
        """Count the copies of that response."""
        return sum(one.via.branch == request.via.branch and one.status == status for one in self.responses)

    async def _until(self, find: Callable[[], Any], what: str, within_s: float = _TIMEOUT_S) -> Any:
        try:
            async with asyncio.timeout(patient(within_s)):
                while (found := find()) is None:
                    self._news.clear()
                    await self._news.wait()
                return found
        except TimeoutError:
            seen = [f"{r.status} {r.cseq}" for r in self.responses] + [r.method for r in self.requests]
            raise AssertionError(f"no {what}; seen: {seen}") from None


class CallerDialog:
    """A call of a Caller, made by `answered`; its requests may go to any edge."""

    def __init__(self, caller: Caller, invite: SipRequest, ok: SipResponse) -> None:
        self.caller = caller
        self.invite = invite
        self.ok = ok
        self.dialog = Dialog.from_uac(invite, ok)

    @classmethod
    async def answered(cls, caller: Caller, edge: Address, **fields: Any) -> "CallerDialog":
        """Send an INVITE and wait for its 200; send no ACK yet."""
        invite = caller.invite(**fields)
        caller.send(invite, edge)
        return cls(caller, invite, await caller.response(invite, 200))

    @classmethod
    async def established(cls, caller: Caller, edge: Address, **fields: Any) -> "CallerDialog":
        """Send an INVITE, wait for its 200, send the ACK."""
        call = await cls.answered(caller, edge, **fields)
        call.ack(edge)
        return call

    @property
    def call_id(self) -> str:
        """The gateway's id of the call."""
        return (self.ok.to.tag or "")[:32]

    def ack(self, edge: Address, *, cseq: int | None = None, body: bytes = b"") -> None:
        """Send the ACK of a 2xx."""
        number = cseq if cseq is not None else self.invite.cseq.number
        self.caller.send(
            self.dialog.ack(self.caller.via, number, body, "application/sdp" if body else None), edge
        )

    def next(self, method: str, *, body: bytes = b"", headers: Any = ()) -> SipRequest:
        """Make the next request of the dialog."""
        self.dialog, request = self.dialog.next_request(
            method,
            self.caller.via,
            self.caller.contact,
            body,
            "application/sdp" if body else None,
            headers=headers,
        )
        return request

    async def ask(self, method: str, edge: Address, *, body: bytes = b"", headers: Any = ()) -> SipResponse:
        """Send a request of the dialog and wait for its final response."""
        request = self.next(method, body=body, headers=headers)
        self.caller.send(request, edge)
        return await self.caller.response(request)

    async def reinvite(self, edge: Address, *, body: bytes) -> SipResponse:
        """Send a re-INVITE and wait for its final response; again while an offer of the gateway is open
        (RFC 3261 §14.1).
        """
        while True:
            answer = await self.ask("INVITE", edge, body=body)
            if answer.status != 491:
                return answer
            await asyncio.sleep(0.05)

    def cancel(self) -> SipRequest:
        """Send the CANCEL of the INVITE."""
        return make_cancel(self.invite)


def ack_failure(caller: Caller, invite: SipRequest, final: SipResponse, edge: Address) -> None:
    """Make the ACK of a 300-699."""
    caller.send(make_ack(invite, final), edge)
