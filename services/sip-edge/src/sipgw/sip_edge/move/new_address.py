"""The last two steps of a move: offer the caller the new session's address, and switch the call to it."""

import asyncio
from functools import partial
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.runtime.telemetry.traces import call_span
from sipgw.sip import SipResponse
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import CallOver, NotTaken, Rejected
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.media.refusals import telling_relay
from sipgw.sip_edge.move.move_ends import MoveEnds
from sipgw.sip_edge.move.outcomes import note_done
from sipgw.sip_edge.move.reinvites import Accepted, Gone, NotNow, Outcome, Refused, Reinvites
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import moving
from sipgw.sip_edge.record.moving import cause_name, is_in
from sipgw.sip_edge.record.records import Change
from sipgw.sip_edge.record.reinviting import of_move
from sipgw.sip_edge.sip.dialogs import target_of

_QUIET_POLL_S: Final = 0.05
_MOST_RETRIES: Final = 5


class NewAddress:
    """`offer` is the step of OFFERING, `switch` that of SWITCHING."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        media: MediaPlane,
        reinvites: Reinvites,
        ends: MoveEnds,
    ) -> None:
        self._settings = process.settings
        self._gateway = process.gateway
        self._now_ms = process.now_ms
        self._records = served.records
        self._ending = served.ending
        self._media = media.commands
        self._placements = media.placements
        self._left_sessions = media.left_sessions
        self._reinvites = reinvites
        self._ends = ends

    async def save_offer(self, live: LiveCall, record: calls.CallSession, allocated: relay.Allocated) -> None:
        """Save our offer, once no other INVITE is under way in the dialog (RFC 3261 §14.1)."""
        offer = partial(
            moving.offer,
            allocated=allocated,
            branch=self._reinvites.new_branch(),
            contact=self._reinvites.contact(live.call_id),
            generation=record.version,
            describe=_describe,
        )
        while True:
            try:
                await self._update(live, offer)
                return
            except CallOver as over:
                if over.record is None or not is_in(over.record, calls.MOVE_PHASE_ALLOCATING):
                    raise
            if self._now_ms() > record.move.deadline_ms + 1000 * self._settings.times.reinvite_s:
                await self._ends.fail(live, record, "another INVITE got no final response", "refused")
                return
            await asyncio.sleep(_QUIET_POLL_S)

    async def offer(self, live: LiveCall, record: calls.CallSession) -> None:
        """Send our re-INVITE, and act on its response."""
        saved = of_move(record)
        if self._reinvites.is_from_elsewhere(saved, live.call_id):
            self._reinvites.acknowledge_once(record, saved)
            await self._update(live, lambda draft: moving.offer_again(draft, record.move.retries))
            return
        with call_span("re-INVITE", live.trace) as span:
            outcome = await self._reinvites.send(record, saved, patience_s=self._settings.times.reinvite_s)
            span.set("sip.status", outcome.status)
        await self._conclude(live, record, outcome)

    async def _conclude(self, live: LiveCall, record: calls.CallSession, outcome: Outcome) -> None:
        match outcome:
            case Accepted(response=response):
                await self._accepted(live, record, response)
            case NotNow(retry_after_s=pause_s) if record.move.retries < _MOST_RETRIES:
                live.log.info("move_put_off", status=outcome.status, retry_in_s=round(pause_s, 2))
                await self._update(live, lambda draft: moving.offer_again(draft, record.move.retries + 1))
                await asyncio.sleep(pause_s)
            case Gone():
                end = End(
                    calls.END_CAUSE_CALLER_HANGUP, f"the caller responds {outcome.status}: no such call"
                )
                await self._ending.end(live.call_id, end, as_owner=True)
            case Refused() | NotNow():
                why = f"the caller responds {outcome.status} to our re-INVITE"
                await self._ends.fail(live, record, why, "refused")

    async def _accepted(self, live: LiveCall, record: calls.CallSession, response: SipResponse) -> None:
        try:
            described = sdp_exchange.accept(record.move.offer, response.sdp, self._gateway.capabilities)
        except Rejected as rejected:
            self._reinvites.acknowledge(record, of_move(record))
            await self._ends.give_up(live, f"no usable answer to our re-INVITE: {rejected}")
            return

        contact = target_of(response)
        try:
            await self._update(
                live,
                lambda draft: moving.accept(
                    draft, record.move.cseq, response.sdp, contact=contact, is_held=described.is_held
                ),
            )
        except CallOver:
            # The call ended meanwhile, but its 200 still needs an ACK.
            self._reinvites.acknowledge(record, of_move(record))
            raise

    async def switch(self, live: LiveCall, record: calls.CallSession) -> None:
        """Start the media on the new relay, release the old one. Raises NotTaken if the new one is lost."""
        self._reinvites.acknowledge(record, of_move(record))
        media = sdp_exchange.agreed(record, self._gateway.capabilities)
        try:
            async with telling_relay(self._records, record):
                await asyncio.gather(self._media.modify(record, media), self._media.start(record))
        except NotTaken as left:
            live.log.warning("relay_refused", relay=record.media.relay.name, reason=left.reason)
            self._left_sessions.release(record, record.move.left)
            raise
        self._left_sessions.release(record, record.move.left)
        self._placements.confirm_soon(live.call_id, record.media.relay.incarnation)
        await self._update(live, lambda draft: moving.settle(draft, record.version, self._now_ms()))
        note_done(live, record, "moved", self._now_ms())
        live.log.info(
            "call_moved",
            cause=cause_name(record),
            from_relay=record.move.left.relay.name,
            to_relay=record.media.relay.name,
            media=f"{record.media.media_address}:{record.media.rtp_port}",
            after_ms=self._now_ms() - record.move.began_ms,
        )

    async def _update(self, live: LiveCall, change: Change) -> calls.CallSession:
        return await self._records.update(live.call_id, change, as_owner=True)


def _describe(record: calls.CallSession, at: calls.MediaAnchor, version: int) -> bytes:
    return sdp_exchange.moved(record, at, version).sdp
