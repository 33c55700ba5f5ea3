"""Serve BYE, ACK, INFO and OPTIONS within a call, at whichever edge they arrive (RFC 3261 §12.2.2).

`offers` serves re-INVITE and UPDATE, `transfer` serves NOTIFY, `cancels` serves CANCEL.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.runtime.telemetry.traces import call_span
from sipgw.sip import (
    AckReceived,
    CSeqOrder,
    RequestReceived,
    SipRequest,
    cseq_order,
    digits_of,
    has_digits,
)
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import trace_of
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.dialog.keys import Keys
from sipgw.sip_edge.dialog.offers import Offers
from sipgw.sip_edge.dialog.transfer import Transfers
from sipgw.sip_edge.errors import CallOver, RecordMissing, Rejected
from sipgw.sip_edge.peers.delivery import Delivery
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import ending, sequencing
from sipgw.sip_edge.record.states import OVER
from sipgw.sip_edge.sip.admission import ACCEPT_ENCODING, ACCEPT_IN_INFO, OPTIONS_HEADERS
from sipgw.sip_edge.sip.dialogs import is_of_dialog
from sipgw.sip_edge.sip.identifiers import call_id_of_tag
from sipgw.sip_edge.sip.responses import rejection_response, response_to, try_later
from sipgw.sip_edge.sip.signalling import Signalling
from sipgw.store import StoreUnavailable

Serve = Callable[[RequestReceived, calls.CallSession], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DialogParts:
    """The parts that serve what takes more than a response."""

    offers: Offers
    transfers: Transfers
    keys: Keys


class InDialog:
    """Serves requests within calls, one method for each SIP method."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        signalling: Signalling,
        dialogs: DialogParts,
        delivery: Delivery,
    ) -> None:
        self._settings = process.settings
        self._records = served.records
        self._sip = signalling.sip
        self._responses = signalling.responses
        self._ending = served.ending
        self._offers = offers = dialogs.offers
        self._transfers = dialogs.transfers
        self._keys = dialogs.keys
        self._delivery = delivery
        self._serve: dict[str, Serve] = {
            "BYE": self._bye,
            "INVITE": offers.reinvite,
            "UPDATE": offers.update,
            "INFO": self._info,
            "OPTIONS": self._options,
            "NOTIFY": self._notify,
        }

    async def take(self, event: RequestReceived) -> None:
        """Serve a request that has a To tag."""
        request = event.request
        try:
            record = await self._session_of(request)
            _check_order(record, request)
            await self._serve[request.method](event, record)
        except Rejected as rejected:
            self._sip.respond(event.key, rejection_response(request, rejected))
        except (CallOver, RecordMissing):
            self._sip.respond(event.key, response_to(request, 481))
        except StoreUnavailable:
            await self._without_record(event)

    async def ack(self, event: AckReceived) -> None:
        """Take the ACK of a 2xx.

        It may have the SDP answer to our offer, or belong to another edge's transaction.
        """
        request = event.request
        call_id = call_id_of_tag(request.to.tag)
        if call_id is None:
            return
        is_ours = self._responses.acked(call_id, request.cseq.number)
        try:
            record = await self._records.load(call_id)
            if record is None or not is_of_dialog(record.legs[0].dialog, request):
                return
            if not is_ours and await self._delivery.deliver(record, request, event.source, event.received_on):
                return
            if record.legs[0].invite.cseq < request.cseq.number:
                # Another edge served the re-INVITE, so our copy of the record is old.
                record = await self._records.reload(call_id)
            if record is not None and record.state not in OVER:
                await self._offers.acknowledged(request, record)
        except (CallOver, RecordMissing):
            return
        except StoreUnavailable:
            if not is_ours:
                await self._delivery.deliver_to_any(call_id, request, event.source, event.received_on)

    async def _bye(self, event: RequestReceived, record: calls.CallSession) -> None:
        request = event.request
        number = request.cseq.number
        end = End(calls.END_CAUSE_CALLER_HANGUP, "the caller hung up")
        ended = None
        with call_span("bye", trace_of(record), by="caller"):
            if record.state not in OVER:
                ended = await self._ending.decide(
                    record.call_id, end, change=partial(ending.hang_up, cseq=number), known=record
                )
            self._sip.respond(event.key, response_to(request, 200))
            if ended is not None:
                await self._ending.carry_out(ended)

    async def _info(self, event: RequestReceived, record: calls.CallSession) -> None:
        """Serve an INFO: without a body a sign of life, else keys, which the bot gets once (RFC 6086)."""
        _check_live(record)
        request = event.request
        if request.parts and not has_digits(request):
            raise Rejected(415, headers=(ACCEPT_IN_INFO, ACCEPT_ENCODING))  # RFC 3261 §21.4.13
        keys = digits_of(request)
        noted = await self._seen(request, record)
        if keys and noted is not None and not await self._keys.press(noted, keys):
            raise Rejected(500, "Media Relay Trouble")
        self._sip.respond(event.key, response_to(request, 200))

    async def _options(self, event: RequestReceived, record: calls.CallSession) -> None:
        _check_live(record)
        await self._seen(event.request, record)
        self._sip.respond(event.key, response_to(event.request, 200, headers=OPTIONS_HEADERS))

    async def _notify(self, event: RequestReceived, record: calls.CallSession) -> None:
        _check_live(record)
        if await self._delivery.deliver(record, event.request, event.source, event.received_on):
            self._sip.forget(event.key)
            return
        await self._transfers.notified(event, record)

    async def _seen(self, request: SipRequest, record: calls.CallSession) -> calls.CallSession | None:
        """Note the CSeq of a request; None: it is a copy of the last one, which changes nothing."""
        number = request.cseq.number
        with contextlib.suppress(CallOver):
            return await self._records.update(
                record.call_id, lambda draft: sequencing.note_request(draft, number), known=record
            )
        return None

    async def _session_of(self, request: SipRequest) -> calls.CallSession:
        call_id = call_id_of_tag(request.to.tag)
        record = await self._records.load(call_id) if call_id is not None else None
        if record is None or not is_of_dialog(record.legs[0].dialog, request):
            raise Rejected(481)
        return record

    async def _without_record(self, event: RequestReceived) -> None:
        """Deliver a request to the edge that has a copy of the call's record, because Redis is away."""
        request = event.request
        call_id = call_id_of_tag(request.to.tag) or ""
        if await self._delivery.deliver_to_any(call_id, request, event.source, event.received_on):
            self._sip.forget(event.key)
        else:
            self._sip.respond(event.key, try_later(request, self._settings.times.retry_after_s))


def _check_order(record: calls.CallSession, request: SipRequest) -> None:
    """Check the CSeq (RFC 3261 §12.2.2) and that the call goes on. Raises Rejected.

    A lower CSeq than the last gets 500; an ended call takes only the BYE that ended it.
    """
    order = cseq_order(request.cseq.number, record.legs[0].dialog.remote_cseq)
    if order is CSeqOrder.OUT_OF_ORDER:
        raise Rejected(500, "CSeq Out Of Order")
    if record.state == calls.CALL_STATE_ENDED and (request.method != "BYE" or order is CSeqOrder.NEW):
        raise Rejected(481)


def _check_live(record: calls.CallSession) -> None:
    if record.state in OVER:
        raise Rejected(481)
