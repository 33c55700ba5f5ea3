"""End a call, whatever the reason: save the end, release the relay, tell the peer, then bury the record.

If two parties end a call at once, the record decides: the later one finds it ENDING. An end that was saved
but not carried out is carried out by the edge that claims the call. A step that fails is logged and counted,
and the next step is taken: no error keeps a call from being buried.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.control import ControlError, RelayRefused
from sipgw.runtime.telemetry.metrics import count, observe
from sipgw.runtime.telemetry.traces import call_span, record_span
from sipgw.sip import SipResponse, response_destination, serialize
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.live_calls import LiveCalls, log_of, trace_of
from sipgw.sip_edge.call.unfinished_ends import UnfinishedEnds
from sipgw.sip_edge.errors import CallOver, EdgeError, RecordMissing
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import ending
from sipgw.sip_edge.record.ending import PEER_HAS_LEFT, Decision
from sipgw.sip_edge.record.records import CallRecords
from sipgw.sip_edge.record.states import end_cause_name
from sipgw.sip_edge.sip.invite_records import address_of
from sipgw.sip_edge.sip.responses import HeaderFields, InviteResponseTemplate
from sipgw.sip_edge.sip.signalling import Signalling
from sipgw.store import StoreUnavailable

STATUS_BEFORE_ANSWER: Final = {
    calls.END_CAUSE_CALLER_HANGUP: 487,
    calls.END_CAUSE_CALLER_CANCELLED: 487,
    calls.END_CAUSE_BOT_HANGUP: 486,
    calls.END_CAUSE_BOT_FINISHED: 486,
    calls.END_CAUSE_BOT_LOST: 480,
    calls.END_CAUSE_BOT_SILENT: 480,
    calls.END_CAUSE_MEDIA_TIMEOUT: 480,
    calls.END_CAUSE_OPERATOR: 480,
}
"""The final status of a call that ends before its answer; 503 for any other cause.

Carriers try another gateway on 480 and 503, but not on 486: a bot that hangs up before the answer has
declined the call, and no other gateway should get it.
"""
_REASONS: Final = {
    calls.END_CAUSE_BOT_HANGUP: 'Q.850;cause=16;text="bot hung up"',
    calls.END_CAUSE_BOT_FINISHED: 'Q.850;cause=16;text="bot finished"',
    calls.END_CAUSE_BOT_LOST: 'Q.850;cause=41;text="bot lost"',
    calls.END_CAUSE_BOT_SILENT: 'Q.850;cause=41;text="bot silent"',
    calls.END_CAUSE_NO_ACK: 'SIP;cause=408;text="no ACK"',
    calls.END_CAUSE_MEDIA_TIMEOUT: 'Q.850;cause=102;text="no media from the caller"',
    calls.END_CAUSE_RELAY_LOST: 'Q.850;cause=41;text="media relay lost"',
    calls.END_CAUSE_OPERATOR: 'Q.850;cause=16;text="ended by the operator"',
    calls.END_CAUSE_MAX_DURATION: 'Q.850;cause=102;text="longest call duration reached"',
    calls.END_CAUSE_SHUTDOWN: 'Q.850;cause=41;text="gateway is shut down"',
    calls.END_CAUSE_TRANSFERRED: 'Q.850;cause=16;text="transferred"',
}
"""The Reason header of our BYE (RFC 3326)."""
EndChange = Callable[[calls.CallSession, Decision], bool]


@dataclass(frozen=True, slots=True)
class End:
    """Why a call ends.

    `status` and `headers` are for the final response, if the INVITE has none yet; status 0: the cause
    decides.
    """

    cause: calls.EndCause.ValueType
    reason: str = ""
    status: int = 0
    headers: HeaderFields = ()


class CallEnding:
    """End calls: `decide` saves the end, `carry_out` carries it out, `end` does both."""

    def __init__(
        self,
        process: Process,
        records: CallRecords,
        live: LiveCalls,
        media: MediaPlane,
        signalling: Signalling,
    ) -> None:
        self._records = records
        self._live = live
        self._media = media.commands
        self._placements = media.placements
        self._responses = signalling.responses
        self._requests = signalling.requests
        self._tasks = process.tasks
        self._local = signalling.local
        self.unfinished = UnfinishedEnds()
        """Ends that a crashed task did not finish."""

    async def decide(
        self,
        call_id: str,
        end: End,
        *,
        as_owner: bool = False,
        change: EndChange = ending.end,
        known: calls.CallSession | None = None,
    ) -> calls.CallSession | None:
        """Save by `change` that the call ends; None if it is ending already, is gone, or `change` declines.

        Raises StoreUnavailable.
        """
        status = end.status or STATUS_BEFORE_ANSWER.get(end.cause, 503)
        decision = Decision(
            end.cause, end.reason, status, lambda record: self._final_of(record, status, end.headers)
        )

        async def again() -> None:
            record = await self.decide(call_id, end, as_owner=as_owner, change=change)
            if record is not None:
                await self.carry_out(record)

        try:
            with self.unfinished.saving(call_id, again, (CallOver, RecordMissing, StoreUnavailable)):
                record = await self._records.update(
                    call_id, lambda draft: change(draft, decision), as_owner=as_owner, known=known
                )
        except (CallOver, RecordMissing):
            return None
        log_of(record).info(
            "call_ending",
            cause=end_cause_name(end.cause),
            reason=end.reason,
            status=record.sip_status or None,
        )
        return record

    async def end(self, call_id: str, end: End, *, as_owner: bool = False) -> bool:
        """End a call now; False: something else had ended it. Raises StoreUnavailable."""
        record = await self.decide(call_id, end, as_owner=as_owner)
        if record is None:
            return False
        await self.carry_out(record)
        return True

    def end_soon(self, record: calls.CallSession) -> None:
        """Carry out a saved end in the background."""
        self._tasks.spawn(self.carry_out(record), "end call", call_id=record.call_id)

    async def carry_out(self, record: calls.CallSession) -> None:
        """Release the relay, tell the peer, bury the record. Safe to repeat."""
        with self.unfinished.carrying_out(record.call_id):
            if record.end_cause in PEER_HAS_LEFT:
                await self._take_step(record, "answer", self._send_final(record))
                await self._take_step(record, "release", self._release(record))
            elif await self._take_step(record, "release", self._release(record)) is False:
                return
            elif record.answered_ms:
                await self._take_step(record, "bye", self._send_bye(record))
            else:
                await self._take_step(record, "answer", self._send_final(record))
            await self._bury(record)

    async def _take_step(
        self, record: calls.CallSession, name: str, step: Awaitable[bool | None]
    ) -> bool | None:
        """Take a step and give its result; None if it fails, so that the call still ends for the caller."""
        try:
            return await step
        except Exception:  # the outermost handler of a step
            metrics.STEPS_FAILED.labels(name).inc()
            log_of(record).exception("end_step_failed", step=name)
            return None

    def _final_of(self, record: calls.CallSession, status: int, headers: HeaderFields) -> bytes:
        """Make the final response to an INVITE that has none yet; empty if it cannot be made."""
        call_id = record.call_id
        live = self._live.get(call_id)
        template = live.template if live is not None else None
        try:
            template = template or InviteResponseTemplate.from_record(
                record.legs[0], self._local.contact(call_id)
            )
            return serialize(template.build(status, headers=headers)) if template is not None else b""
        except Exception:  # the call still ends, and its INVITE gets a plain 500
            metrics.STEPS_FAILED.labels("answer").inc()
            log_of(record).exception("end_step_failed", step="answer")
            return b""

    async def _release(self, record: calls.CallSession) -> bool:
        """Release the relay's session.

        False if the relay knows a higher owner epoch, so that this end is stale.
        """
        if not record.media.relay.incarnation:
            return True
        self._placements.release_soon(record.call_id, record.media.relay.incarnation)
        for anchor in (record.move.target, record.move.left):
            if anchor.relay.incarnation not in {"", record.media.relay.incarnation}:
                self._placements.end_at(record, anchor, "the call is over")
        reason = record.end_reason or end_cause_name(record.end_cause)
        if record.end_cause == calls.END_CAUSE_RELAY_LOST:
            self._placements.end_at(record, record.media, reason)  # the relay may come back
            return True
        try:
            await self._media.release(record, reason)
        except RelayRefused as refused:
            if refused.status == relay.COMMAND_STATUS_STALE and self._records.is_away:
                log_of(record).warning("end_is_stale", message=refused.message)
                self._live.remove(record.call_id)
                return False
        except ControlError as error:
            log_of(record).warning("release_unanswered", error=str(error))
            self._placements.end_at(record, record.media, reason)
        return True

    async def _send_final(self, record: calls.CallSession) -> None:
        if record.answered_ms:
            self._responses.stop(record.call_id)
            return
        invite = record.legs[0].invite
        live = self._live.get(record.call_id)
        key = live.invite_key if live is not None else None
        final = InviteResponseTemplate.from_record(record.legs[0], "") if invite.last_final else None
        if final is None:
            if key is not None:
                self._responses.fail(key, record.legs[0].dialog.local_tag)
            return
        response: SipResponse = final.response
        destination = response_destination(response.via, address_of(invite.source))
        self._responses.send(record.call_id, response, key, destination)
        if live is not None:
            attributes = {"sip.method": "INVITE", "sip.status": record.sip_status}
            record_span("transaction", live.trace, live.began_ns, time.time_ns(), attributes)

    async def _send_bye(self, record: calls.CallSession) -> None:
        reason = _REASONS.get(record.end_cause)
        if record.end_cause != calls.END_CAUSE_NO_ACK:
            # RFC 3261 §15: no BYE before the ACK of our 2xx or its timeout
            await self._responses.settled(record.call_id)
        self._responses.stop(record.call_id)
        with call_span("bye", trace_of(record), by="gateway") as span:
            status = await self._requests.send(record, "BYE", headers=(("Reason", reason),) if reason else ())
            span.set("sip.status", status)

    async def _bury(self, record: calls.CallSession) -> None:
        try:
            ended = await self._records.update(record.call_id, ending.bury, known=record)
        except (EdgeError, StoreUnavailable):
            pass
        else:
            trace = trace_of(ended)
            count(metrics.CALLS_ENDED.labels(end_cause_name(ended.end_cause)), trace)
            if ended.answered_ms:
                observe(metrics.CALL_SECONDS, (ended.ended_ms - ended.answered_ms) / 1000, trace)
            log_of(ended).info(
                "call_ended",
                cause=end_cause_name(ended.end_cause),
                reason=ended.end_reason,
                status=ended.sip_status or None,
                answered=bool(ended.answered_ms),
                duration_ms=ended.ended_ms - ended.answered_ms if ended.answered_ms else 0,
            )
        self._live.remove(record.call_id)
