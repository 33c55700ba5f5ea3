"""One call of a SipPhone, placed or received: what a person does with it, and what a test asks of it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from sipgw.sdp import Direction, NegotiatedMedia
from sipgw.sip import SipRequest, SipResponse
from sipgw.siptest.changes import Changes
from sipgw.siptest.dialog_session import DialogSession
from sipgw.siptest.endpoint import HostPort
from sipgw.siptest.errors import CallOver, CallRefused, CallTimedOut
from sipgw.siptest.media import Audio, PhoneMedia
from sipgw.siptest.negotiation import CONTENT_TYPE, Negotiation
from sipgw.siptest.outgoing import OutgoingInvite
from sipgw.siptest.received_audio import ReceivedAudio
from sipgw.siptest.statistics import CallStatistics, measure

Outgoing = OutgoingInvite | None


class CallPhase(Enum):
    """How far a call has come."""

    CALLING = "calling"
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"


class EndedBy(Enum):
    """The cause of a call's end."""

    US = "us"
    PEER = "peer"
    REFUSED = "refused"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call ended. `cause` is the status line of a refusal, or the Reason header of the peer's BYE."""

    by: EndedBy
    cause: str = ""


@dataclass(slots=True)
class CallTimes:
    """The monotonic times of events; None for events that have not happened."""

    invited_s: float = field(default_factory=time.monotonic)
    answered_s: float | None = None
    ended_s: float | None = None

    @property
    def answer_time_s(self) -> float | None:
        """The time from the INVITE to its 200."""
        return None if self.answered_s is None else self.answered_s - self.invited_s


class PhoneCall:
    """A call, made by `SipPhone.invite`, `SipPhone.call` or `IncomingCall.answer`."""

    def __init__(self, session: DialogSession, negotiation: Negotiation, media: PhoneMedia) -> None:
        self.phase = CallPhase.CALLING
        self.times = CallTimes()
        self.end: CallEnd | None = None
        self.session = session
        self.negotiation = negotiation
        self.media = media
        self.outgoing: Outgoing = None
        self.requests: list[SipRequest] = []  # the peer's requests within the dialog
        self.changes = Changes()
        self.acks: list[SipRequest] = []
        self.on_ack: Callable[[SipRequest], None] = lambda _: None
        self._tasks: set[asyncio.Task[None]] = set()
        media.on_change = self.changes.notify

    @property
    def is_answered(self) -> bool:
        return self.phase is CallPhase.ANSWERED

    @property
    def has_ended(self) -> bool:
        return self.phase is CallPhase.ENDED

    @property
    def destination(self) -> HostPort | None:
        """The address that replaces the dialog's next hop for requests; set it to use another edge."""
        return self.session.destination

    @destination.setter
    def destination(self, destination: HostPort | None) -> None:
        self.session.destination = destination

    @property
    def received(self) -> ReceivedAudio:
        return self.media.received

    @property
    def received_digits(self) -> str:
        return self.media.received.digits

    @property
    def final_response(self) -> SipResponse | None:
        """The final response to our INVITE."""
        return self.outgoing.client.final if self.outgoing is not None else None

    def statistics(self) -> CallStatistics:
        """Return the figures of the call so far."""
        return measure(self.media, self.times)

    # ---- waiting -------------------------------------------------------------------------------------------

    async def answered(self, timeout_s: float = 10.0) -> "PhoneCall":
        """Wait for the answer. Raises CallRefused with the final status, CallTimedOut without one."""
        await self.changes.until(lambda: self.is_answered or self.has_ended, timeout_s, "answer")
        if self.is_answered:
            return self
        final = self.final_response
        if final is not None and final.status >= 300:
            raise CallRefused.by(final)
        if self.end is not None and self.end.by is EndedBy.TIMEOUT:
            raise CallTimedOut("no final answer: the INVITE transaction timed out")
        raise CallOver("the call has ended")

    async def ringing(self, timeout_s: float = 10.0) -> None:
        """Return at a 180 or 183, or at once when the call is further along."""
        await self.changes.until(lambda: self.phase is not CallPhase.CALLING, timeout_s, "ringing")

    async def ended(self, timeout_s: float = 10.0) -> CallEnd:
        """Wait for the end of the call."""
        await self.changes.until(lambda: self.has_ended, timeout_s, "end of the call")
        assert self.end is not None
        return self.end

    async def played(self, timeout_s: float = 60.0) -> None:
        """Return when everything given to `play` and `send_dtmf` has been sent."""
        await self.changes.until(
            lambda: self.media.is_idle or self.has_ended, timeout_s, "end of what is played"
        )

    async def heard(self, digits: str, timeout_s: float = 10.0) -> None:
        """Return when the peer has pressed these keys."""
        await self.changes.until(lambda: digits in self.received_digits, timeout_s, f"digits {digits}")

    # ---- acting --------------------------------------------------------------------------------------------

    def play(self, audio: Audio) -> int:
        """Queue audio behind the audio being played; return the sample of the sent track where it begins."""
        return self.media.play(audio)

    async def send_dtmf(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 80) -> None:
        """Press keys by RFC 4733 and return when the last packet has left."""
        self.media.send_digits(digits, duration_ms=duration_ms, gap_ms=gap_ms)
        await self.changes.until(
            lambda: self.media.has_sent_digits or self.has_ended, 60.0, "end of the digits"
        )

    async def hangup(self, timeout_s: float = 5.0, *, reason: str = "") -> None:
        """Send a BYE, or a CANCEL before the answer, and return at its response; at once after the end.

        `reason` is the BYE's Reason header (RFC 3326).
        """
        if self.has_ended:
            return
        if self.outgoing is not None and not self.is_answered:
            await self.cancel(timeout_s)
            return
        self.media.stop_sending()
        request = self.session.make_request("BYE")
        if reason:
            request.headers.add("Reason", reason)
        try:
            response = await self.session.transact(request, timeout_s)
        except CallTimedOut:
            self.finish(CallEnd(EndedBy.TIMEOUT, "no answer to BYE"))
            raise
        self.finish(
            CallEnd(EndedBy.US, "" if response.is_success else f"{response.status} {response.reason}")
        )

    async def cancel(self, timeout_s: float = 5.0) -> None:
        """Send a CANCEL after a provisional response (RFC 3261 §9.1); a BYE when a 200 crosses it."""
        assert self.outgoing is not None
        await self.outgoing.cancel(timeout_s)
        await self.changes.until(
            lambda: self.is_answered or self.has_ended, timeout_s, "answer to a cancelled INVITE"
        )
        if self.is_answered:
            await self.hangup(timeout_s)

    async def hold(self) -> None:
        """Put the peer on hold: we send and receive nothing."""
        await self.reinvite(Direction.SENDONLY)

    async def resume(self) -> None:
        """End the hold."""
        await self.reinvite(Direction.SENDRECV)

    async def reinvite(self, direction: Direction | None = None, *, timeout_s: float = 5.0) -> SipResponse:
        """Send a new offer within the dialog. Raises CallRefused; the call then goes on as it was."""
        offer = self.negotiation.offer(direction)
        request = self.session.make_request("INVITE", offer, CONTENT_TYPE)

        def ack_if_ok(response: SipResponse) -> None:
            if response.is_success:
                self.session.send_ack(request.cseq.number)

        response = await self.session.transact(request, timeout_s, ack_if_ok)
        if not response.is_success:
            raise CallRefused.by(response)
        self.session.dialog = self.session.live.refreshed(response)
        self.media.apply(self.negotiation.accept(response.body))
        return response

    async def request(
        self,
        method: str,
        body: bytes = b"",
        content_type: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        timeout_s: float = 5.0,
    ) -> SipResponse:
        """Send any other request within the dialog and return its final response."""
        request = self.session.make_request(method, body, content_type, headers)
        return await self.session.transact(request, timeout_s)

    # ---- what the phone tells ------------------------------------------------------------------------------

    def became_ringing(self) -> None:
        """Note a 180 or 183."""
        if self.phase is CallPhase.CALLING:
            self.phase = CallPhase.RINGING
        self.changes.notify()

    def became_answered(self) -> None:
        """Note the 200."""
        if self.phase in {CallPhase.CALLING, CallPhase.RINGING}:
            self.phase = CallPhase.ANSWERED
            self.times.answered_s = time.monotonic()
        self.changes.notify()

    def ack_received(self, ack: SipRequest) -> None:
        """Note the peer's ACK."""
        self.acks.append(ack)
        self.on_ack(ack)
        self.changes.notify()

    def drop(self) -> None:
        """Stop sending: the phone closes."""
        self.finish(CallEnd(EndedBy.US, "dropped"))

    def own(self, task: asyncio.Task[None]) -> None:
        """Start a task that ends with the call."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def has_media(self, media: NegotiatedMedia) -> None:
        """Apply negotiated media."""
        self.media.apply(media)

    def was_refused(self, status_line: str) -> None:
        """End the call: the INVITE was refused."""
        self.finish(CallEnd(EndedBy.REFUSED, status_line))

    def had_no_answer(self) -> None:
        """End the call: the INVITE timed out."""
        self.finish(CallEnd(EndedBy.TIMEOUT, "no final answer to INVITE"))

    def finish(self, end: CallEnd) -> None:
        """End the call."""
        if not self.has_ended:
            self.phase = CallPhase.ENDED
            self.end = end
            self.times.ended_s = time.monotonic()
            self.media.close()
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
        self.changes.notify()
