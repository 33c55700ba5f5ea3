"""An incoming call of a phone: ring, answer, reject; and the 200 until its ACK (RFC 3261 §13.3.1.4)."""

import asyncio
import secrets

from sipgw.sdp import SdpError
from sipgw.sip import Dialog, RequestReceived, SipRequest, SipResponse, TransactionKey, make_response
from sipgw.siptest.call import CallEnd, EndedBy, PhoneCall
from sipgw.siptest.changes import Changes
from sipgw.siptest.media import Audio
from sipgw.siptest.negotiation import CONTENT_TYPE

_T1_S = 0.5
_T2_S = 4.0


class IncomingCall:
    """A call from `SipPhone.incoming`. `request` is the INVITE; `answer` returns the PhoneCall."""

    def __init__(self, received: RequestReceived, call: PhoneCall) -> None:
        self.request: SipRequest = received.request
        self.call = call
        self.is_cancelled = False
        self.changes = Changes()
        self.local_tag = secrets.token_hex(6)
        self._received = received
        self._is_final = False

    @property
    def key(self) -> TransactionKey:
        return self._received.key

    def ring(self, status: int = 180) -> None:
        """Send a provisional response."""
        self._respond(status)
        self.call.became_ringing()

    def reject(self, status: int = 486) -> None:
        """Send a final response that refuses the call."""
        self._is_final = True
        response = self._respond(status)
        self.call.finish(CallEnd(EndedBy.US, f"{response.status} {response.reason}"))

    def answer(self, audio: Audio | None = None) -> PhoneCall:
        """Send a 200 with our answer, or with an offer when the INVITE had none.

        An offer that we can't accept gets 488.
        """
        if audio is not None:
            self.call.play(audio)
        try:
            body = self._describe()
        except SdpError as error:
            self.reject(error.sip_status)
            return self.call
        self._is_final = True
        response = self._respond(200, body)
        self.call.became_answered()
        repetition = asyncio.create_task(self._repeat(response), name="200 until ACK")
        self.call.on_ack = lambda ack: self._acked(ack, repetition)
        self.call.own(repetition)
        return self.call

    def _describe(self) -> bytes:
        if not self.request.body:
            return self.call.negotiation.offer()
        body, media = self.call.negotiation.answer(self.request.body)
        self.call.has_media(media)
        return body

    async def _repeat(self, response: SipResponse) -> None:
        """Repeat the 200 after T1, doubling up to T2, for 64*T1; then send a BYE."""
        interval_s = _T1_S
        waited_s = 0.0
        while waited_s < 64 * _T1_S:
            await asyncio.sleep(interval_s)
            waited_s += interval_s
            interval_s = min(2 * interval_s, _T2_S)
            self.call.session.endpoint.respond(self._received.key, response)
        await self.call.hangup()

    def _acked(self, ack: SipRequest, repetition: asyncio.Task[None]) -> None:
        repetition.cancel()
        if not self.request.body and ack.body:
            self.call.has_media(self.call.negotiation.accept(ack.body))

    def _respond(self, status: int, body: bytes = b"") -> SipResponse:
        response = make_response(
            self.request,
            status,
            to_tag=self.local_tag,
            contact=self.call.session.contact,
            body=body,
            content_type=CONTENT_TYPE,
        )
        if 100 < status < 300:
            self.call.session.dialog = Dialog.from_uas(self.request, response)
        self.call.session.endpoint.respond(self._received.key, response)
        return response

    async def cancelled(self, timeout_s: float = 10.0) -> None:
        """Wait for the caller's CANCEL."""
        await self.changes.until(lambda: self.is_cancelled, timeout_s, "CANCEL")

    def cancel_received(self) -> bool:
        """Handle a CANCEL; return False when the final response was sent already."""
        if self._is_final:
            return False
        self.is_cancelled = True
        self._is_final = True
        self._respond(487)
        self.call.finish(CallEnd(EndedBy.PEER, "cancelled"))
        self.changes.notify()
        return True
