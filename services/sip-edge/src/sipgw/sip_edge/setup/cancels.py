"""Serve CANCEL of an INVITE that is being set up, here or at another edge (RFC 3261 §9.2)."""

import secrets

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip import CancelReceived, SipRequest
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.peers.delivery import Delivery
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import ending
from sipgw.sip_edge.setup.call_ids import CallIds
from sipgw.sip_edge.setup.intake import Intake
from sipgw.sip_edge.sip.responses import response_to, try_later
from sipgw.sip_edge.sip.server import SipServer
from sipgw.store import StoreUnavailable


class Cancels:
    """Serves CANCELs."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        sip: SipServer,
        delivery: Delivery,
        intake: Intake,
        call_ids: CallIds,
    ) -> None:
        self._retry_after_s = process.settings.times.retry_after_s
        self._records = served.records
        self._ending = served.ending
        self._sip = sip
        self._delivery = delivery
        self._intake = intake
        self._call_ids = call_ids

    async def take(self, event: CancelReceived) -> None:
        """Respond with 200 to the CANCEL, and with 487 to its INVITE (RFC 3261 §9.2).

        The INVITE keeps a final response that it already has.
        """
        request = event.request
        try:
            call_id = await self._call_id_of(request)
            tag = await self._call_ids.new_tag(call_id) if call_id is not None else secrets.token_hex(8)
            if event.invite_key is not None and self._intake.cancel_early(event.invite_key):
                self._sip.respond(event.key, response_to(request, 200, to_tag=tag))
                return
            record = await self._records.load(call_id) if call_id is not None else None
            if record is None or record.legs[0].invite.branch != (request.via.branch or ""):
                status = 200 if event.invite_key else 481
                self._sip.respond(event.key, response_to(request, status, to_tag=tag))
                return
            is_mine = event.invite_key is not None
            if not is_mine and await self._delivery.deliver(record, request, event.source, event.received_on):
                self._sip.forget(event.key)
                return
            self._sip.respond(event.key, response_to(request, 200, to_tag=record.legs[0].dialog.local_tag))
            await self._cancel(record)
        except StoreUnavailable:
            self._sip.respond(event.key, try_later(request, self._retry_after_s))

    async def _cancel(self, record: calls.CallSession) -> None:
        ended = await self._ending.decide(
            record.call_id,
            End(calls.END_CAUSE_CALLER_CANCELLED, "the caller cancelled"),
            change=ending.cancel,
            known=record,
        )
        if ended is not None:
            await self._ending.carry_out(ended)

    async def _call_id_of(self, request: SipRequest) -> str | None:
        if (
            request.to.tag is not None
        ):  # a re-INVITE gets its final response at once, so there is nothing to cancel
            return None
        return await self._call_ids.of(request)
