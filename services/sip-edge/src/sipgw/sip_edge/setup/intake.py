"""Take new INVITEs: check for room, authenticate, choose a route, make the record, then run the call flow.

An INVITE that another edge received before arrives here as well: a retransmission is delivered to that edge,
a merged request gets 482.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import NamedTuple

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import Existing
from sipgw.runtime.telemetry.metrics import count
from sipgw.runtime.telemetry.traces import new_trace
from sipgw.sip import RequestReceived, TransactionKey, response_destination, serialize
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.call.routing import Parties, RouteDecision, decide_route, parties_of
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.call.setup_window import Setup
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.peers.delivery import Delivery
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.setup.call_flow import CallFlow
from sipgw.sip_edge.setup.call_ids import CallIds
from sipgw.sip_edge.setup.call_limits import CallLimits
from sipgw.sip_edge.setup.entry import Entry
from sipgw.sip_edge.setup.first_media import FirstMedia
from sipgw.sip_edge.sip.admission import check_new_call
from sipgw.sip_edge.sip.dialogs import dialog_record
from sipgw.sip_edge.sip.invite_records import invite_record
from sipgw.sip_edge.sip.responses import InviteResponseTemplate, rejection_response, retry_after
from sipgw.sip_edge.sip.signalling import Signalling
from sipgw.store import StoreUnavailable

_SETUP_LIMIT_MS = 15_000


@dataclass(frozen=True, slots=True)
class NewCalls:
    """The parts that an INVITE passes before it becomes a call."""

    entry: Entry
    limits: CallLimits
    ids: CallIds
    media: FirstMedia


class _Wanted(NamedTuple):
    """The route and media that an INVITE asks for, as far as available; else `refused` holds the response."""

    decision: RouteDecision | None
    media: relay.MediaSpec | None
    refused: Rejected | None


class Intake:
    """Takes new INVITEs."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        signalling: Signalling,
        flow: CallFlow,
        delivery: Delivery,
        new_calls: NewCalls,
    ) -> None:
        self._settings = process.settings
        self._now_ms = process.now_ms
        self._records = served.records
        self._sip = signalling.sip
        self._live = served.live
        self._flow = flow
        self._ending = served.ending
        self._deadlines = served.deadlines
        self._delivery = delivery
        self._gateway = process.gateway
        self._local = signalling.local
        self._setting_up = 0
        self._entry = new_calls.entry
        self._limits = new_calls.limits
        self._call_ids = new_calls.ids
        self._first_media = new_calls.media
        self._loop = asyncio.get_running_loop()
        self._starting: dict[TransactionKey, bool] = {}
        """INVITEs whose record is being made; True: cancelled meanwhile."""
        self._is_stopping = False

    @property
    def is_stopping(self) -> bool:
        """Tell whether new calls are refused."""
        return self._is_stopping

    def refuse_new_calls(self) -> None:
        """Respond with 503 to every new call from now on, because the edge is about to stop."""
        self._is_stopping = True

    async def take(self, event: RequestReceived) -> None:
        """Serve a new INVITE until its final response."""
        self._setting_up += 1
        self._starting[event.key] = False
        try:
            await self._admit(event)
        except Rejected as rejected:
            self._sip.respond(
                event.key, rejection_response(event.request, rejected, to_tag=secrets.token_hex(8))
            )
        except StoreUnavailable:
            refusal = self._unavailable("Redis Is Away")
            self._sip.respond(
                event.key, rejection_response(event.request, refusal, to_tag=secrets.token_hex(8))
            )
        finally:
            self._setting_up -= 1
            self._starting.pop(event.key, None)

    def cancel_early(self, invite_key: TransactionKey) -> bool:
        """Note a CANCEL whose INVITE has no record yet; the call is cancelled once it has one."""
        if invite_key in self._starting:
            self._starting[invite_key] = True
        return invite_key in self._starting

    async def _admit(self, event: RequestReceived) -> None:
        check_new_call(event.request)
        self._check_room()
        assert self._gateway.current is not None
        entered = await self._entry.enter(self._gateway.current, event, self._loop.time())
        try:
            await self._take(event, entered.setup, entered.trunk)
        finally:
            self._entry.leave(entered.setup, self._loop.time())

    async def _take(self, event: RequestReceived, setup: Setup, trunk: config.Trunk | None) -> None:
        request = event.request
        call_id = await self._call_ids.of(request)
        tag = await self._call_ids.new_tag(call_id)
        template = InviteResponseTemplate.to_request(request, tag, self._local.contact(call_id))
        self._sip.respond(event.key, template.response)
        began_ns = time.time_ns()
        try:
            await self._limits.check_gateway(self._gateway.max_calls)
        except Rejected:
            if (known := await self._records.load(call_id)) is None:
                raise
            await self._delivery.invite_known(event, known)
            return
        parties = parties_of(request, trunk)
        wanted = await self._wanted(event, parties, trunk, call_id)
        live = LiveCall(
            call_id=call_id,
            trace=new_trace(),
            template=template,
            destination=response_destination(request.via, event.source),
            invite_key=event.key,
            media=wanted.media,
            setup=setup,
            began_ns=began_ns,
        )
        with self._limits.entering(wanted.decision):
            outcome = await self._records.create(self._record(event, parties, live, trunk, wanted.decision))
        if isinstance(outcome, Existing):
            await self._delivery.invite_known(event, outcome.session)
            return
        self._live.add(live)
        count(metrics.CALLS_STARTED, live.trace)
        record = outcome.session
        live.log.info(
            "call_invited",
            caller=record.from_display,
            callee=record.to_display,
            trunk=record.trunk,
            route=record.route,
            source=f"{event.source.host}:{event.source.port}",
            sip_call_id=request.call_id,
        )
        end = self._end_at_once(event.key, wanted.refused)
        if end is not None:
            await self._ending.end(call_id, end, as_owner=True)
            return
        self._deadlines.arm(record)
        await self._flow.run(live, record)

    def _end_at_once(self, key: TransactionKey, refused: Rejected | None) -> End | None:
        if self._starting.pop(key, False):
            return End(calls.END_CAUSE_CALLER_CANCELLED, "the caller cancelled")
        if refused is None:
            return None
        reason = refused.detail or str(refused)
        return End(calls.END_CAUSE_REJECTED, reason, refused.status, refused.headers)

    def _check_room(self) -> None:
        if self._is_stopping:
            raise self._unavailable("Shutting Down")
        if self._gateway.current is None:
            raise self._unavailable("No Config Yet")
        if self._setting_up > self._settings.limits.setups:
            raise self._unavailable("Too Many Calls At Once")

    async def _wanted(
        self, event: RequestReceived, parties: Parties, trunk: config.Trunk | None, call_id: str
    ) -> _Wanted:
        decision = None
        try:
            decision = await self._limits.within(self._decide(event, parties, trunk, call_id), call_id)
            media = self._first_media.wanted(event.request.sdp, event.source.host, trunk)
        except Rejected as rejected:
            return _Wanted(decision, None, rejected)
        return _Wanted(decision, media, None)

    def _decide(
        self, event: RequestReceived, parties: Parties, trunk: config.Trunk | None, call_id: str
    ) -> RouteDecision:
        assert self._gateway.current is not None
        return decide_route(self._gateway.current, event.request, parties, trunk, call_id)

    def _record(
        self,
        event: RequestReceived,
        parties: Parties,
        live: LiveCall,
        trunk: config.Trunk | None,
        decision: RouteDecision | None,
    ) -> calls.CallSession:
        """Make the call's record. It names caller and callee even if the call is refused."""
        request = event.request
        assert live.template is not None
        me = self._settings.identity
        now_ms = self._now_ms()
        record = calls.CallSession(
            call_id=live.call_id,
            state=calls.CALL_STATE_INVITED,
            owner=calls.ProcessIdentity(name=me.name, incarnation=me.incarnation),
            owner_epoch=1,
            trace=calls.TraceContext(
                trace_id=live.trace.trace_id, root_span_id=live.trace.span_id, sampled=live.trace.sampled
            ),
            created_ms=now_ms,
            deadline_ms=now_ms + _SETUP_LIMIT_MS,
            trunk=trunk.name if trunk is not None else "",
            from_display=parties.caller.number,
            to_display=parties.called.number,
            from_parameters=parties.caller.params,
            to_parameters=parties.called.params,
        )
        leg = record.legs.add(leg_id="a", direction=calls.LEG_DIRECTION_INBOUND)
        leg.dialog.CopyFrom(dialog_record(request, live.template.local_tag))
        leg.invite.CopyFrom(invite_record(event))
        leg.invite.last_provisional = serialize(live.template.response)
        leg.remote_sdp = request.sdp
        if decision is not None:
            record.route = decision.route.name
            record.bot.endpoint, record.bot.epoch = decision.bot.endpoint, 1
            record.bot.resume_token = secrets.token_urlsafe(16)
            record.bot.sip_headers.update(decision.headers_to_bot)
        return record

    def _unavailable(self, reason: str) -> Rejected:
        return Rejected(503, reason, headers=retry_after(self._settings.times.retry_after_s))
