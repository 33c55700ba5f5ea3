"""SipPhone: a SIP user agent with RTP for tests, benches and `sipgw call`. UDP, one socket, many calls."""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import TypedDict, Unpack

from sipgw.sip import (
    AckReceived,
    Address,
    CancelReceived,
    NameAddress,
    RequestReceived,
    SipRequest,
    SipResponse,
    TimerValues,
    TransactionEvent,
    make_response,
    new_request,
    parse_uri,
)
from sipgw.siptest.call import PhoneCall
from sipgw.siptest.dialog_session import DialogSession, final_response
from sipgw.siptest.endpoint import HostPort, SipEndpoint, SipTraffic
from sipgw.siptest.errors import CallTimedOut
from sipgw.siptest.in_dialog import ALLOW, answer_within
from sipgw.siptest.incoming import IncomingCall
from sipgw.siptest.login import Login
from sipgw.siptest.media import Audio, PhoneMedia
from sipgw.siptest.negotiation import CONTENT_TYPE, Negotiation, capabilities_of
from sipgw.siptest.outgoing import OutgoingInvite
from sipgw.siptest.resolve import destination_of

_RFC_TIMERS = TimerValues()


class InviteOptions(TypedDict, total=False):
    """The options of `SipPhone.invite`; see there."""

    audio: Audio | None
    destination: HostPort | None
    headers: Iterable[tuple[str, str]]
    codecs: tuple[str, ...]
    ptime_ms: int
    telephone_event: bool
    offer: bool
    ack: bool
    caller: str | None
    call_id: str | None
    login: Login | None


class SipPhone:
    """A phone: `phone = await SipPhone.open("127.0.0.1")`, also as `async with`."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.calls: list[PhoneCall] = []
        # Responds to requests in place of the phone when it returns a response: for tests of odd peers.
        self.on_request: Callable[[RequestReceived], SipResponse | None] = lambda _: None
        self._endpoint: SipEndpoint
        self._incoming: asyncio.Queue[IncomingCall] = asyncio.Queue()
        self._ringing: dict[str, IncomingCall] = {}

    @classmethod
    async def open(
        cls,
        host: str = "127.0.0.1",
        *,
        port: int = 0,
        user: str = "alice",
        timers: TimerValues = _RFC_TIMERS,
    ) -> "SipPhone":
        """Open a phone on a free port."""
        phone = cls(user)
        phone._endpoint = await SipEndpoint.open(host, port, phone._on_event, timers)
        return phone

    async def __aenter__(self) -> "SipPhone":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def address(self) -> HostPort:
        return self._endpoint.address.host, self._endpoint.address.port

    @property
    def uri(self) -> str:
        """The URI of this phone."""
        return f"sip:{self.user}@{self.address[0]}:{self.address[1]}"

    @property
    def messages(self) -> list[SipTraffic]:
        """Every datagram sent or received."""
        return self._endpoint.messages

    async def aclose(self) -> None:
        """Close the sockets. Live calls are dropped without a BYE."""
        for call in self.calls:
            call.drop()
        self._endpoint.close()
        await asyncio.sleep(0)

    # ---- calling -------------------------------------------------------------------------------------------

    async def call(self, uri: str, *, timeout_s: float = 10.0, **options: Unpack[InviteOptions]) -> PhoneCall:
        """Place a call and wait for its answer. Raises CallRefused, CallTimedOut."""
        return await self.invite(uri, **options).answered(timeout_s)

    def invite(
        self,
        uri: str,
        *,
        audio: Audio | None = None,
        destination: HostPort | None = None,
        headers: Iterable[tuple[str, str]] = (),
        codecs: tuple[str, ...] = ("PCMU", "PCMA"),
        ptime_ms: int = 20,
        telephone_event: bool = True,
        offer: bool = True,
        ack: bool = True,
        caller: str | None = None,
        call_id: str | None = None,
        login: Login | None = None,
    ) -> PhoneCall:
        """Send an INVITE and return at once.

        `audio` is played from the answer on, silence after it. `destination` is a proxy to send through.
        `offer=False`: the peer offers in its 200. `ack=False`: its 200 stays without an ACK. `login` answers
        a 401 or 407.
        """
        target = parse_uri(uri)
        towards = Address("UDP", *destination) if destination else destination_of(target)
        call = self._new_call(codecs, ptime_ms=ptime_ms, telephone_event=telephone_event)
        if audio is not None:
            call.play(audio)
        tag = secrets.token_hex(6)
        body = call.negotiation.offer() if offer else b""
        request = new_request(
            "INVITE",
            target,
            from_=NameAddress("", parse_uri(caller or self.uri), {"tag": tag}),
            to=NameAddress("", target),
            call_id=call_id or f"{secrets.token_hex(12)}@{self.address[0]}",
            cseq=1,
            via=self._endpoint.via(),
            contact=call.session.contact,
            headers=[("Allow", ALLOW), ("User-Agent", "sipgw-siptest"), *headers],
            body=body,
            content_type=CONTENT_TYPE,
        )
        call.outgoing = OutgoingInvite(call.session, call.negotiation, call, sends_ack=ack, login=login)
        call.outgoing.send(request, towards)
        return call

    async def request(
        self, method: str, uri: str, *, destination: HostPort | None = None, timeout_s: float = 5.0
    ) -> SipResponse:
        """Send a request outside any call, e.g. OPTIONS, and return its final response."""
        target = parse_uri(uri)
        request = new_request(
            method,
            target,
            from_=NameAddress("", parse_uri(self.uri), {"tag": secrets.token_hex(6)}),
            to=NameAddress("", target),
            call_id=secrets.token_hex(12),
            cseq=1,
            via=self._endpoint.via(),
            contact=f"<{self.uri}>",
        )
        towards = Address("UDP", *destination) if destination else destination_of(target)
        return await final_response(self._endpoint.send_request(request, towards), timeout_s)

    def send_raw(self, data: bytes, destination: HostPort) -> None:
        """Send a test's own datagram from the phone's socket; responses are in `messages`."""
        self._endpoint.send_raw(data, Address("UDP", *destination))

    async def incoming(self, timeout_s: float = 10.0) -> IncomingCall:
        """Wait for the next incoming call and return it."""
        try:
            return await asyncio.wait_for(self._incoming.get(), timeout_s)
        except TimeoutError as error:
            raise CallTimedOut(f"no call within {timeout_s:g} s") from error

    def _new_call(
        self,
        codecs: tuple[str, ...] = ("PCMU", "PCMA"),
        *,
        ptime_ms: int = 20,
        telephone_event: bool = True,
    ) -> PhoneCall:
        media = PhoneMedia(self.address[0])
        capabilities = capabilities_of(codecs, ptime_ms=ptime_ms, telephone_event=telephone_event)
        negotiation = Negotiation(capabilities, self.address[0], media.rtp_port)
        call = PhoneCall(DialogSession(self._endpoint, f"<{self.uri}>"), negotiation, media)
        self.calls.append(call)
        return call

    # ---- incoming messages ------------------------------------------------------------------------------

    def _on_event(self, event: TransactionEvent) -> None:
        match event:
            case RequestReceived():
                self._endpoint.respond_unless_none(event.key, self._answer(event))
            case AckReceived(request=request):
                call = self._call_of(request)
                if call is not None:
                    call.ack_received(request)
            case CancelReceived(request=request):
                incoming = self._ringing.get(request.call_id)
                status = 200 if incoming is not None and incoming.cancel_received() else 481
                self._endpoint.respond(event.key, make_response(request, status))
            case _:
                pass  # strays and ends of transactions: the messages are kept, nothing else needs them

    def _answer(self, received: RequestReceived) -> SipResponse | None:
        """Return the response to a request, or None when it comes later or was sent elsewhere."""
        request = received.request
        response = self.on_request(received)
        if response is not None:
            return response
        call = self._call_of(request)
        if call is not None:
            return answer_within(call, received)
        if request.to.tag is not None:
            return make_response(request, 481)
        if request.method == "INVITE":
            incoming = IncomingCall(received, self._new_call())
            self._ringing[request.call_id] = incoming
            self._incoming.put_nowait(incoming)
            return None
        if request.method == "OPTIONS":
            return make_response(request, 200, headers=[("Allow", ALLOW)])
        return make_response(request, 405, headers=[("Allow", ALLOW)])

    def _call_of(self, request: SipRequest) -> PhoneCall | None:
        for call in self.calls:
            dialog = call.session.dialog
            if dialog is not None and not call.has_ended and dialog.matches(request):
                return call
        return None
