"""New INVITEs: is there room, who is calling, which route; the record; then the call flow takes over.

Also INVITEs that another edge received first: a retransmission goes to that edge, a merged request gets 482.
"""

import asyncio
import secrets

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.calls import Existing, call_id_for
from sipgw.runtime.telemetry.metrics import count
from sipgw.runtime.telemetry.traces import new_trace
from sipgw.sip import RequestReceived, SipRequest, TransactionKey, response_destination, serialize
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.deadlines import Deadlines
from sipgw.sip_edge.call.ending import CallEnding, End
from sipgw.sip_edge.call.live_calls import LiveCall, LiveCalls
from sipgw.sip_edge.call.routing import RouteDecision, decide_route, user_of
from sipgw.sip_edge.call.setup_window import Setup
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.peers.delivery import Delivery
from sipgw.sip_edge.record.records import CallRecords
from sipgw.sip_edge.settings import EdgeSettings
from sipgw.sip_edge.setup.call_flow import CallFlow
from sipgw.sip_edge.setup.call_limits import CallLimits
from sipgw.sip_edge.setup.entry import Entry
from sipgw.sip_edge.sip.admission import check_new_call
from sipgw.sip_edge.sip.dialogs import LocalContact, dialog_record
from sipgw.sip_edge.sip.identifiers import invite_call_key, local_tag
from sipgw.sip_edge.sip.invite_records import invite_record
from sipgw.sip_edge.sip.responses import InviteResponseTemplate, rejection_response, retry_after
from sipgw.sip_edge.sip.server import SipServer
from sipgw.store import Store, StoreUnavailable

CALL_ID_SECRET = "call-id"
_SETUP_LIMIT_MS = 15_000


class Intake:
    """`is_stopping` answers every new call with 503."""

    def __init__(
        self,
        settings: EdgeSettings,
        store: Store,
        records: CallRecords,
        sip: SipServer,
        live: LiveCalls,
        flow: CallFlow,
        ending: CallEnding,
        deadlines: Deadlines,
        delivery: Delivery,
        gateway: ConfigHolder,
        local: LocalContact,
        entry: Entry,
        limits: CallLimits,
    ) -> None:
        self._settings = settings
        self._store = store
        self._records = records
        self._sip = sip
        self._live = live
        self._flow = flow
        self._ending = ending
        self._deadlines = deadlines
        self._delivery = delivery
        self._gateway = gateway
        self._local = local
        self._setting_up = 0
        self._entry = entry
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._starting: dict[TransactionKey, bool] = {}
        """INVITEs whose record is being made; True: cancelled meanwhile."""
        self.is_stopping = False

    async def call_id_of(self, request: SipRequest) -> str:
        """The id of the call that an INVITE or its CANCEL means. Raises StoreUnavailable until the key is
        known.
        """
        key = await self._store.shared_secret(CALL_ID_SECRET)
        return call_id_for(
            request.call_id, invite_call_key(request.from_.tag or "", request.cseq.number), key
        )

    async def take(self, event: RequestReceived) -> None:
        """Serve a new INVITE to its answer."""
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
        """A CANCEL came before its INVITE has a record: remembered, and obeyed once there is one."""
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
        call_id = await self.call_id_of(request)
        tag = local_tag(call_id)
        template = InviteResponseTemplate.to_request(request, tag, self._local.contact(call_id))
        self._sip.respond(event.key, template.response)
        refused: Rejected | None = None
        live = LiveCall(
            call_id=call_id,
            trace=new_trace(),
            template=template,
            destination=response_destination(request.via, event.source),
            invite_key=event.key,
            setup=setup,
        )
        try:
            await self._limits.check_gateway(self._gateway.max_calls)
        except Rejected:
            if (known := await self._records.load(call_id)) is None:
                raise
            await self._delivery.invite_known(event, known)
            return
        try:
            live.decision = await self._limits.within(self._decide(event, trunk, call_id), call_id)
            live.media = self._flow.media_wanted(request.body, event.source.host, trunk)
        except Rejected as rejected:
            refused = rejected
        with self._limits.entering(live.decision):
            outcome = await self._records.create(self._record(event, live, tag, trunk))
        if isinstance(outcome, Existing):
            await self._delivery.invite_known(event, outcome.session)
            return
        self._live.add(live)
        count(metrics.CALLS_STARTED, live.trace)
        session = outcome.session
        live.log.info(
            "call_invited",
            caller=session.from_display,
            callee=session.to_display,
            trunk=session.trunk,
            route=session.route,
            source=f"{event.source.host}:{event.source.port}",
            sip_call_id=request.call_id,
        )
        end = self._end_at_once(event.key, refused)
        if end is not None:
            await self._ending.end(call_id, end, as_owner=True)
            return
        self._deadlines.arm(session)
        await self._flow.run(live, session)

    def _end_at_once(self, key: TransactionKey, refused: Rejected | None) -> End | None:
        if self._starting.pop(key, False):
            return End(calls.END_CAUSE_CALLER_CANCELLED, "the caller cancelled")
        if refused is None:
            return None
        reason = refused.detail or str(refused)
        return End(calls.END_CAUSE_REJECTED, reason, refused.status, refused.headers)

    def _check_room(self) -> None:
        if self.is_stopping:
            raise self._unavailable("Shutting Down")
        if self._gateway.current is None:
            raise self._unavailable("No Config Yet")
        if self._setting_up > self._settings.limits.setups:
            raise self._unavailable("Too Many Calls At Once")

    def _decide(self, event: RequestReceived, trunk: config.Trunk | None, call_id: str) -> RouteDecision:
        assert self._gateway.current is not None
        return decide_route(self._gateway.current, event.request, trunk, call_id)

    def _record(
        self, event: RequestReceived, live: LiveCall, tag: str, trunk: config.Trunk | None
    ) -> calls.CallSession:
        """Who called whom stands in it also when the call is refused."""
        request, decision = event.request, live.decision
        assert live.template is not None
        me = self._settings.identity
        now_ms = self._store.now_ms()
        session = calls.CallSession(
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
            from_display=user_of(request.from_.uri),
            to_display=user_of(request.uri),
        )
        leg = session.legs.add(leg_id="a", direction=calls.LEG_DIRECTION_INBOUND)
        leg.dialog.CopyFrom(dialog_record(request, tag))
        leg.invite.CopyFrom(invite_record(event))
        leg.invite.last_provisional = serialize(live.template.response)
        leg.remote_sdp = request.body
        if decision is not None:
            session.route = decision.route.name
            session.bot.endpoint, session.bot.epoch = decision.bot.endpoint, 1
            session.bot.resume_token = secrets.token_urlsafe(16)
            session.bot.sip_headers.update(decision.headers_to_bot)
        return session

    def _unavailable(self, reason: str) -> Rejected:
        return Rejected(503, reason, headers=retry_after(self._settings.times.retry_after_s))
