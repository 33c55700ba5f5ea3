"""Give callers the Contact of this edge, after it has claimed their calls.

The edge sends a re-INVITE with the description last agreed, its version unchanged (RFC 3261 §12.2.1.1, RFC
3264 §8): media goes on, and the caller's next request comes here. Each step is saved before it is taken, so
that another edge can go on if this one dies.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.control import ControlError
from sipgw.runtime.telemetry.traces import call_span
from sipgw.sip import SipResponse
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import CallOver, EdgeError, RecordMissing, Rejected
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.move.pace import Pace
from sipgw.sip_edge.move.reinvites import Accepted, Gone, NotNow, Refused, Reinvites
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import refreshing
from sipgw.sip_edge.record.records import Change
from sipgw.sip_edge.record.reinviting import of_refresh
from sipgw.sip_edge.record.states import ANSWERED
from sipgw.sip_edge.sip.dialogs import target_of
from sipgw.sip_edge.sip.invite_records import contact_of_peer
from sipgw.store import StoreUnavailable

_QUIET_POLL_S: Final = 0.05
_HELD_UP_PAUSE_S: Final = 1.0
_MOST_RETRIES: Final = 5
_TIMED_OUT: Final = 408
Step = Callable[[LiveCall, calls.CallSession], Awaitable[None]]


class TargetRefreshes:
    """Refreshes callers' targets. At most one task at a time refreshes a call."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        media: MediaPlane,
        reinvites: Reinvites,
    ) -> None:
        self._limits = process.settings.limits.refreshes
        self._records = served.records
        self._media = media.commands
        self._reinvites = reinvites
        self._ending = served.ending
        self._gateway = process.gateway
        self._pace = Pace(self._limits.per_s)
        self._steps: dict[int, Step] = {
            calls.REFRESH_PHASE_WANTED: self._offer,
            calls.REFRESH_PHASE_OFFERING: self._send,
            calls.REFRESH_PHASE_ACCEPTED: self._settle,
        }

    async def see_through(self, live: LiveCall, record: calls.CallSession) -> None:
        """Refresh the caller's target if it has another Contact, or resume a refresh under way."""
        await self._gateway.taken.wait()  # the config may have the address at which callers reach this edge
        contact = self._reinvites.contact(live.call_id)
        if not record.HasField("refresh"):
            if not _is_needed(record, contact):
                return
            await self._save(
                live,
                lambda draft: refreshing.want(draft, known=contact_of_peer(draft.legs[0]), contact=contact),
            )
        await self._pace.turn()
        while (current := self._under_way(live)) is not None:
            try:
                await self._steps[current.refresh.phase](live, current)
            except (CallOver, RecordMissing):
                if self._records.copy_of(live.call_id) is current:
                    return
            except (EdgeError, StoreUnavailable, ControlError) as error:
                live.log.warning("target_refresh_held_up", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_HELD_UP_PAUSE_S)

    def _under_way(self, live: LiveCall) -> calls.CallSession | None:
        record = self._records.copy_of(live.call_id)
        if record is None or record.state not in ANSWERED or not record.HasField("refresh"):
            return None
        return record

    async def _save(self, live: LiveCall, change: Change) -> None:
        try:
            await self._records.update(live.call_id, change, as_owner=True)
        except (CallOver, RecordMissing):
            return
        except StoreUnavailable as error:
            live.log.warning("target_refresh_not_saved", error=str(error))

    async def _offer(self, live: LiveCall, record: calls.CallSession) -> None:
        """Save our offer, once no other INVITE is under way in the dialog (RFC 3261 §14.1)."""
        contact, branch = self._reinvites.contact(live.call_id), self._reinvites.new_branch()
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._limits.quiet_within_s
        while True:
            current = self._under_way(live)
            if current is None:
                return
            if not _is_needed(current, contact):
                await self._drop(live, "overtaken", "another re-INVITE has given the caller our Contact")
                return
            try:
                await self._update(
                    live, lambda draft: refreshing.offer(draft, branch=branch, contact=contact)
                )
                return
            except CallOver as over:
                if over.record is None or not refreshing.is_in(over.record, calls.REFRESH_PHASE_WANTED):
                    raise
            if loop.time() > give_up_at:
                await self._drop(live, "refused", "another INVITE got no final response")
                return
            await asyncio.sleep(_QUIET_POLL_S)

    async def _send(self, live: LiveCall, record: calls.CallSession) -> None:
        saved, retries = of_refresh(record), record.refresh.retries
        if self._reinvites.is_from_elsewhere(saved, live.call_id):
            self._reinvites.acknowledge_once(record, saved)
            await self._again(live, saved.cseq, retries)
            return
        with call_span("re-INVITE", live.trace) as span:
            outcome = await self._reinvites.send(record, saved, patience_s=self._limits.patience_s)
            span.set("sip.status", outcome.status)
        match outcome:
            case Accepted(response=response):
                await self._accepted(live, record, response)
            case NotNow(retry_after_s=pause_s) if retries < _MOST_RETRIES:
                live.log.info("target_refresh_put_off", status=outcome.status, retry_in_s=round(pause_s, 2))
                await self._again(live, saved.cseq, retries + 1)
                await asyncio.sleep(pause_s)
            case Gone() | Refused(status=408):
                await self._end(live, outcome.status)
            case Refused() | NotNow():
                await self._drop(live, "refused", f"the caller responds {outcome.status}")

    async def _again(self, live: LiveCall, cseq: int, retries: int) -> None:
        await self._update(live, lambda draft: refreshing.offer_again(draft, cseq, retries))

    async def _end(self, live: LiveCall, status: int) -> None:
        """End the call: 481, 408 and no response at all end the dialog (RFC 3261 §12.2.1.2)."""
        if status == _TIMED_OUT:
            end = End(calls.END_CAUSE_LOST, "the caller does not respond to our re-INVITE (408)")
        else:
            end = End(calls.END_CAUSE_CALLER_HANGUP, f"the caller responds {status}: no such call")
        if await self._ending.end(live.call_id, end, as_owner=True):
            metrics.TARGET_REFRESHES.labels("ended").inc()

    async def _accepted(self, live: LiveCall, record: calls.CallSession, response: SipResponse) -> None:
        saved = of_refresh(record)
        try:
            described = sdp_exchange.accept(saved.offer, response.sdp, self._gateway.capabilities)
        except Rejected as rejected:
            self._reinvites.acknowledge(record, saved)
            await self._drop(live, "refused", f"no usable answer: {rejected}")
            return
        target = target_of(response)
        try:
            await self._update(
                live,
                lambda draft: refreshing.accept(
                    draft, saved.cseq, response.sdp, target=target, is_held=described.is_held
                ),
            )
        except CallOver:
            # The call ended meanwhile, but its 200 still needs an ACK.
            self._reinvites.acknowledge(record, saved)
            raise

    async def _settle(self, live: LiveCall, record: calls.CallSession) -> None:
        """Acknowledge, and tell the relay of changed media.

        For a silent relay the move that waits for this refresh does so at the next relay.
        """
        self._reinvites.acknowledge(record, of_refresh(record))
        if record.refresh.changes_media and not self._media.is_silent(record):
            try:
                await self._media.modify(record, sdp_exchange.agreed(record, self._gateway.capabilities))
            except ControlError as error:
                # The relay is dead, and the next one gets the record's media; or it knows something newer.
                live.log.warning("modify_failed", error=str(error))
        await self._update(live, lambda draft: refreshing.settle(draft, record.version))
        metrics.TARGET_REFRESHES.labels("refreshed").inc()
        live.log.info("target_refreshed", contact=record.refresh.contact)

    async def _drop(self, live: LiveCall, outcome: str, why: str) -> None:
        await self._update(live, refreshing.drop)
        metrics.TARGET_REFRESHES.labels(outcome).inc()
        live.log.info("target_refresh_dropped", reason=why)

    async def _update(self, live: LiveCall, change: Change) -> None:
        await self._records.update(live.call_id, change, as_owner=True)


def _is_needed(record: calls.CallSession, contact: str) -> bool:
    return refreshing.is_needed(record, known=contact_of_peer(record.legs[0]), contact=contact)
