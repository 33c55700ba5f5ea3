"""The INVITE that a phone sends: its progress, its ACK, its CANCEL."""

from typing import Protocol

from sipgw.sdp import NegotiatedMedia, SdpError
from sipgw.sip import Address, Dialog, SipRequest, SipResponse, make_cancel
from sipgw.siptest.changes import Changes
from sipgw.siptest.dialog_session import DialogSession
from sipgw.siptest.errors import refusal_of
from sipgw.siptest.login import MAX_CHALLENGES, Login
from sipgw.siptest.negotiation import CONTENT_TYPE, Negotiation


class InviteProgress(Protocol):
    """The observer of an INVITE's progress."""

    def became_ringing(self) -> None:
        """Note a 180 or 183."""

    def became_answered(self) -> None:
        """Note the 200."""

    def has_media(self, media: NegotiatedMedia) -> None:
        """Apply negotiated media."""

    def was_refused(self, status_line: str) -> None:
        """Note a final failure."""

    def had_no_answer(self) -> None:
        """Note that the INVITE timed out."""


class OutgoingInvite:
    """One INVITE transaction and the ACKs of its 2xx. Without an offer in it, the ACK carries our answer."""

    def __init__(
        self,
        session: DialogSession,
        negotiation: Negotiation,
        progress: InviteProgress,
        *,
        sends_ack: bool,
        login: Login | None = None,
    ) -> None:
        self.provisionals: list[SipResponse] = []
        self.sends_ack = sends_ack
        self.login = login
        self.challenges = 0
        self.changes = Changes()
        self._session = session
        self._negotiation = negotiation
        self._progress = progress
        self._ack_body = b""
        self._is_settled = False

    def send(self, request: SipRequest, destination: Address) -> None:
        """Send the INVITE."""
        self.client = self._session.endpoint.send_request(
            request, destination, self._on_response, self._on_timeout
        )

    @property
    def request(self) -> SipRequest:
        return self.client.request

    async def trying(self, timeout_s: float = 5.0) -> None:
        """Return at the first response of any kind, after which a CANCEL may be sent."""
        await self.changes.until(lambda: bool(self.client.responses), timeout_s, "response to INVITE")

    async def cancel(self, timeout_s: float = 5.0) -> None:
        """Send a CANCEL and wait for its response."""
        await self.trying(timeout_s)
        if self.client.final is None:
            destination = self._session.towards(self.client.destination)
            self._session.endpoint.send_request(make_cancel(self.request), destination)

    def send_ack(self) -> None:
        """Send the ACK of the 2xx, also again."""
        self._session.send_ack(self.request.cseq.number, self._ack_body)

    def _on_response(self, response: SipResponse) -> None:
        if response.is_provisional:
            self._on_provisional(response)
        elif response.is_success:
            self._on_success(response)
        elif not self._log_in(response):
            self._progress.was_refused(f"{response.status} {refusal_of(response)}")
        self.changes.notify()

    def _log_in(self, refusal: SipResponse) -> bool:
        if self.login is None or self.challenges == MAX_CHALLENGES:
            return False
        again = self.login.answer(self.request, refusal, self._session.endpoint.via())
        if again is None:
            return False
        self.challenges += 1
        self.send(again, self._session.towards(self.client.destination))
        return True

    def _on_provisional(self, response: SipResponse) -> None:
        self.provisionals.append(response)
        if response.status > 100:
            self._progress.became_ringing()
        if response.body and response.content_type == CONTENT_TYPE and self.request.body:
            self._progress.has_media(self._negotiation.accept(response.body))  # early media

    def _on_success(self, response: SipResponse) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._session.dialog = Dialog.from_uac(self.request, response)
            try:
                media = self._settle(response)
            except SdpError as error:
                self.send_ack()
                self._progress.was_refused(f"answered with media that can't be used: {error}")
                return
            self._progress.has_media(media)
            self._progress.became_answered()
        if self.sends_ack:
            self.send_ack()

    def _settle(self, response: SipResponse) -> NegotiatedMedia:
        if self.request.body:
            return self._negotiation.accept(response.body)
        self._ack_body, media = self._negotiation.answer(response.body)
        return media

    def _on_timeout(self) -> None:
        if self.client.final is None:
            self._progress.had_no_answer()
        self.changes.notify()
