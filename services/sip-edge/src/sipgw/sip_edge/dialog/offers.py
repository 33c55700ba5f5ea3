"""Serve offers within a call (RFC 3261 §14, RFC 3311, RFC 3264): re-INVITE, UPDATE, and the answer in an ACK.

Any edge serves them. Order: save the intent, modify the relay, save the result and the response, send it.
"""

from dataclasses import dataclass, field
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.control import ControlError, RelayRefused, RelayUnreachable
from sipgw.sip import (
    RequestReceived,
    SipRequest,
    SipResponse,
    parse_message,
    response_destination,
    serialize,
)
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import log_of
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import CallOver, Rejected
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.media.peers import is_acknowledged, wants_acknowledgement
from sipgw.sip_edge.media.sdp_exchange import Described
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import offering
from sipgw.sip_edge.record.offering import Answer, Obstacle, Settled
from sipgw.sip_edge.sip.admission import ALLOW
from sipgw.sip_edge.sip.dialogs import target_of
from sipgw.sip_edge.sip.invite_records import address_of, endpoint_of, invite_record
from sipgw.sip_edge.sip.responses import rejection_response, response_to, retry_after
from sipgw.sip_edge.sip.signalling import Signalling

_RETRY_AFTER_S: Final = 2


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of an offer: our description, and whether the relay's media changes."""

    described: Described
    is_changed: bool = field(kw_only=True)
    has_offer: bool = field(default=False, kw_only=True)


class Offers:
    """Serves offers, one at a time for each call: the record has the pending one."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        media: MediaPlane,
        signalling: Signalling,
    ) -> None:
        self._records = served.records
        self._sip = signalling.sip
        self._responses = signalling.responses
        self._media = media.commands
        self._ending = served.ending
        self._deadlines = served.deadlines
        self._gateway = process.gateway
        self._local = signalling.local

    async def reinvite(self, event: RequestReceived, record: calls.CallSession) -> None:
        """Serve a re-INVITE, with an offer or asking for ours.

        If another edge served it before, it gets the same response.
        """
        if _is_copy(event.request, record):
            self._respond_again(event, record)
            return
        self._sip.respond(event.key, response_to(event.request, 100))
        try:
            saved, ok = await self._serve(event.request, await self._intend(event, record))
        except CallOver as over:
            if over.record is None or not _is_copy(event.request, over.record):
                raise
            self._respond_again(event, over.record)
            return
        destination = response_destination(event.request.via, event.source)
        self._responses.send(saved.call_id, ok, event.key, destination)

    def _respond_again(self, event: RequestReceived, record: calls.CallSession) -> None:
        """Send the saved final response, without a transaction, because another edge serves this INVITE."""
        self._sip.forget(event.key)
        last_final = record.legs[0].invite.last_final
        if last_final:
            self._sip.send(last_final, response_destination(event.request.via, event.source))

    async def update(self, event: RequestReceived, record: calls.CallSession) -> None:
        """Serve an UPDATE, with an offer or only as a target refresh.

        If another edge is serving it, that edge responds.
        """
        try:
            _, ok = await self._serve(event.request, await self._intend(event, record))
        except CallOver as over:
            if over.record is None or not offering.is_taken(over.record, event.request.cseq.number):
                raise
            self._sip.forget(event.key)
            return
        self._sip.respond(event.key, ok)

    async def go_on(self, record: calls.CallSession) -> None:
        """Serve an offer of the peer whose edge died before it responded.

        A caller that got the 100 to its re-INVITE does not send it again (RFC 3261 §17.1.1.2). Without this
        it waits in vain, and nothing else may change the media.
        """
        intended = await self._records.update(record.call_id, offering.is_begun, known=record)
        pending = intended.legs[0].pending_offer
        request = parse_message(pending.request) if pending.request else None
        if not isinstance(request, SipRequest):  # begun by an edge of an older release
            await self._withdraw(intended)
            return
        destination = response_destination(request.via, address_of(pending.source))
        try:
            saved, ok = await self._serve(request, intended)
        except Rejected as rejected:
            self._sip.send(rejection_response(request, rejected), destination)
            return
        if request.method == "INVITE":
            self._responses.send(saved.call_id, ok, None, destination)
        else:
            self._sip.send(ok, destination)

    async def acknowledged(self, ack: SipRequest, record: calls.CallSession) -> None:
        """Take the ACK of our 2xx.

        If it lacks the SDP answer to our offer, end the call (RFC 3261 §13.3.1.4).
        """
        number = ack.cseq.number
        leg = record.legs[0]
        if leg.invite.cseq != number or leg.invite.ack_seen:
            return
        described = None
        if leg.offer_pending == calls.OFFER_PENDING_LOCAL:
            try:
                described = self._read_answer(ack, record)
            except Rejected as rejected:
                await self._no_answer(record, rejected)
                return
        answered = Answer(ack.sdp, is_held=described.is_held) if described is not None else None
        saved = await self._records.update(
            record.call_id,
            lambda draft: offering.acknowledge(draft, number, answered, longest_ms=self._gateway.max_call_ms),
            known=record,
        )
        self._deadlines.arm(saved)
        if record.state == calls.CALL_STATE_ANSWERED:
            log_of(saved).info("call_established")
        if described is not None:
            await self._tell_relay(saved, described)
        elif wants_acknowledgement(saved):
            await self._let_speak(saved)

    async def _let_speak(self, record: calls.CallSession) -> None:
        """Tell the relay of the ACK, until which it may hold the bot's voice.

        Tell it again if another command came first. A relay that cannot be reached learns it from the next
        Adopt.
        """
        while True:
            try:
                await self._media.acknowledge(record)
                return
            except ControlError as error:
                is_stale = isinstance(error, RelayRefused) and error.status == relay.COMMAND_STATUS_STALE
                later = await self._records.reload(record.call_id) if is_stale else None
                if later is None or later.version == record.version or not is_acknowledged(later):
                    log_of(record).info("acknowledge_failed", error=str(error))
                    return
                record = later

    async def _tell_relay(self, record: calls.CallSession, described: Described) -> None:
        """Apply the SDP answer of the ACK.

        An ACK has no response, so media that cannot be served ends the call with a BYE.
        """
        try:
            await self._media.modify(record, described.media)
        except RelayRefused as refused:
            if refused.status != relay.COMMAND_STATUS_STALE:  # otherwise the call and its media have moved on
                end = End(calls.END_CAUSE_RELAY_LOST, f"the relay did not take the answer: {refused}")
                await self._ending.end(record.call_id, end)
        except RelayUnreachable as error:
            # A dead relay's successor gets the record's media; a late relay latches to the caller.
            log_of(record).warning("modify_failed", error=str(error))

    def _read_answer(self, ack: SipRequest, record: calls.CallSession) -> Described:
        if not ack.sdp:
            raise Rejected(488, "no answer in the ACK")
        described = sdp_exchange.accept(record.legs[0].local_sdp, ack.sdp, self._gateway.capabilities)
        self._media.check(record, described.media)
        return described

    async def _no_answer(self, record: calls.CallSession, rejected: Rejected) -> None:
        end = End(calls.END_CAUSE_REJECTED, f"no usable answer to our offer: {rejected}")
        await self._ending.end(record.call_id, end)

    async def _serve(
        self, request: SipRequest, intended: calls.CallSession
    ) -> tuple[calls.CallSession, SipResponse]:
        """Serve an offer that the record notes as begun; return the record, and the 200 saved in it.

        Raises Rejected: the offer is withdrawn.
        """
        try:
            outcome = self._negotiate(request, intended)
            if outcome.is_changed:
                await self._media.modify(intended, outcome.described.media)
        except Rejected as rejected:
            log_of(intended).info("offer_refused", status=rejected.status, reason=rejected.detail)
            await self._withdraw(intended)
            raise
        except ControlError as error:
            if isinstance(error, RelayRefused) and error.status == relay.COMMAND_STATUS_INVALID:
                log_of(intended).info("offer_refused", status=488, reason=error.message)
                await self._withdraw(intended)
                raise sdp_exchange.not_acceptable(error.message) from error
            log_of(intended).warning("modify_failed", error=str(error))
            await self._withdraw(intended)
            raise Rejected(500, "Media Relay Trouble", headers=retry_after(_RETRY_AFTER_S)) from error
        ok = self._ok(request, intended, outcome)
        saved = await self._settle(request, intended, outcome, ok)
        log_of(saved).info(
            "media_changed" if outcome.is_changed else "media_confirmed",
            method=request.method,
            on_hold=saved.legs[0].on_hold,
        )
        return saved, ok

    async def _intend(self, event: RequestReceived, record: calls.CallSession) -> calls.CallSession:
        """Save that the peer's offer is being served.

        Raises Rejected for offers that cross: 491, 500 (RFC 3261 §14.2).
        """
        request, cseq = event.request, event.request.cseq.number
        invite = invite_record(event) if request.method == "INVITE" else None
        offer = None
        if request.sdp or invite is not None:
            offer = calls.PendingOffer(request=serialize(request), source=endpoint_of(event.source))
        try:
            return await self._records.update(
                record.call_id,
                lambda draft: offering.begin(draft, cseq, invite, offer),
                known=record,
            )
        except CallOver as over:
            found = offering.obstacle_to(over.record, cseq, invite) if over.record is not None else None
            if found is None or found is Obstacle.COPY:
                raise
            raise _refusal(found) from None

    def _negotiate(self, request: SipRequest, record: calls.CallSession) -> _Outcome:
        leg = record.legs[0]
        version = leg.local_sdp_version + 1
        if not request.sdp:
            # A re-INVITE without an offer gets ours, with a new version.
            if request.method == "UPDATE":
                return _Outcome(Described(b"", relay.MediaSpec()), is_changed=False)
            offered = sdp_exchange.renewed_offer(self._gateway.capabilities, record, version)
            return _Outcome(offered, is_changed=False, has_offer=True)
        offer = sdp_exchange.read_offer(request.sdp)
        described = sdp_exchange.answer_with(offer, self._gateway.capabilities, record, version)
        self._media.check(record, described.media)
        if request.sdp == leg.remote_sdp and leg.local_sdp:
            return _Outcome(
                Described(leg.local_sdp, described.media, is_held=described.is_held), is_changed=False
            )
        return _Outcome(described, is_changed=True)

    def _ok(self, request: SipRequest, record: calls.CallSession, outcome: _Outcome) -> SipResponse:
        return response_to(
            request,
            200,
            headers=(ALLOW,),
            contact=self._local.contact(record.call_id),
            body=outcome.described.sdp if request.method == "INVITE" or request.sdp else b"",
        )

    async def _settle(
        self,
        request: SipRequest,
        record: calls.CallSession,
        outcome: _Outcome,
        ok: SipResponse,
    ) -> calls.CallSession:
        settled = Settled(
            remote_sdp=request.sdp,
            local_sdp=outcome.described.sdp,
            is_changed=outcome.is_changed,
            has_offer=outcome.has_offer,
            is_held=outcome.described.is_held,
            remote_target=target_of(request),
            local_target=self._local.uri(record.call_id),
            final=serialize(ok) if request.method == "INVITE" else b"",
            generation=record.version,
        )
        return await self._records.update(
            record.call_id, lambda draft: offering.settle(draft, settled), known=record
        )

    async def _withdraw(self, record: calls.CallSession) -> None:
        await self._records.update(record.call_id, offering.withdraw, known=record)


def _is_copy(request: SipRequest, record: calls.CallSession) -> bool:
    """Tell whether the request is the INVITE in the record."""
    return offering.is_copy(record, request.cseq.number, request.via.branch or "")


def _refusal(obstacle: Obstacle) -> Rejected:
    """Make the response to an offer that cannot be served now (RFC 3261 §14.2, RFC 3311 §5.2)."""
    match obstacle:
        case Obstacle.OUT_OF_ORDER:
            return Rejected(500, "CSeq Out Of Order")
        case Obstacle.THEIRS_PENDING:
            return Rejected(500, headers=retry_after(_RETRY_AFTER_S))
        case Obstacle.UNANSWERED | Obstacle.OURS_PENDING:  # an INVITE has no final response yet
            return Rejected(491)
        case _:
            return Rejected(481)
