"""The edge as a whole: what it is made of, how it starts, what runs beside the calls, how it ends."""

import asyncio
from collections.abc import Coroutine
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.edge.v1.edge_pb2_grpc import add_EdgeServiceServicer_to_server
from sipgw.calls import CallStore, EdgeLease, EdgeLeases, identity_of
from sipgw.control import RegistryClient
from sipgw.runtime.grpc_server import GrpcServer
from sipgw.runtime.health import Probes
from sipgw.runtime.settings import HostPort, Identity
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.vitals import Vitals
from sipgw.sip import TransactionKey, TransactionLayer
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.allocation import Allocations
from sipgw.sip_edge.call.deadlines import Deadlines
from sipgw.sip_edge.call.ending import CallEnding, End
from sipgw.sip_edge.call.fallback import Fallbacks
from sipgw.sip_edge.call.live_calls import LiveCalls
from sipgw.sip_edge.call.routing import no_bot_status
from sipgw.sip_edge.call.setup_window import SetupWindow
from sipgw.sip_edge.dialog.in_dialog import InDialog
from sipgw.sip_edge.dialog.offers import Offers
from sipgw.sip_edge.dialog.transfer import Transfers
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.guard.authentication import NONCE_SECRET, Authentication, Passwords
from sipgw.sip_edge.guard.stranger_guard import StrangerGuard
from sipgw.sip_edge.inbound.claims import Claims, Reinviting, sweep_forever
from sipgw.sip_edge.inbound.dispatcher import Dispatcher
from sipgw.sip_edge.inbound.edge_service import SERVICE_NAME, EdgeService
from sipgw.sip_edge.inbound.media_events import MediaEvents
from sipgw.sip_edge.inbound.rescue import Rescue
from sipgw.sip_edge.inbound.stranded import StrandedCalls
from sipgw.sip_edge.media.commands import MediaCommands
from sipgw.sip_edge.media.left_sessions import LeftSessions
from sipgw.sip_edge.media.peers import MediaPeers
from sipgw.sip_edge.media.placement import Placements
from sipgw.sip_edge.media.registry_outage import RegistryOutage
from sipgw.sip_edge.media.relay_ports import RelayPorts
from sipgw.sip_edge.media.relays import Relays
from sipgw.sip_edge.move.moves import Moves
from sipgw.sip_edge.move.reinvites import Reinvites
from sipgw.sip_edge.move.relay_losses import RelayLosses
from sipgw.sip_edge.move.target_refreshes import TargetRefreshes
from sipgw.sip_edge.peers.delivery import Delivery
from sipgw.sip_edge.peers.edges import Edges
from sipgw.sip_edge.record.journal import Journal
from sipgw.sip_edge.record.records import CallRecords
from sipgw.sip_edge.record.redis_watch import RedisWatch
from sipgw.sip_edge.settings import EdgeSettings, OnStop
from sipgw.sip_edge.setup.call_flow import CallFlow
from sipgw.sip_edge.setup.call_limits import CallLimits
from sipgw.sip_edge.setup.entry import Entry
from sipgw.sip_edge.setup.intake import CALL_ID_SECRET, Intake
from sipgw.sip_edge.sip.dialogs import DialogRequests, LocalContact
from sipgw.sip_edge.sip.identifiers import branch_tokens
from sipgw.sip_edge.sip.in_flight import InFlight
from sipgw.sip_edge.sip.invite_responses import InviteResponses
from sipgw.sip_edge.sip.listeners import UdpListener
from sipgw.sip_edge.sip.responses import InviteResponseTemplate, retry_after
from sipgw.sip_edge.sip.server import SipServer
from sipgw.store import Store, StoreUnavailable

_JUDGE_POLL_S: Final = 0.1
_log = get_logger("sipgw.sip_edge.app")


class EdgeApp:
    """Made by `start_edge`; `stop` ends every call of this edge and then the edge."""

    def __init__(self, settings: EdgeSettings, store: Store, listener: UdpListener) -> None:
        me = settings.identity
        times = settings.times
        self._settings = settings
        self._store = store
        self._tasks = TaskGroupOwner("edge", on_crash=self._task_crashed)
        self._requests = TaskGroupOwner("requests", on_crash=self._task_crashed)
        self._wake_sweep = asyncio.Event()
        self.gateway = ConfigHolder()
        self.live = LiveCalls()
        self.edges = Edges(me, tls=settings.tls)
        self.registry = RegistryClient(settings.registry, tls=settings.tls)
        self.leases = EdgeLeases(store)
        self.journal = Journal()
        call_store = CallStore(store)
        self.records = CallRecords(call_store, me, self.journal)
        self.local = LocalContact(settings.advertise_host, settings.advertise_port or listener.address.port)
        self.guard = StrangerGuard(settings, self.gateway, self._serves, store.now_ms)
        self._authentication = Authentication(
            Passwords(settings.seal_key_file),
            settings.limits.wrong_passwords,
            lambda: store.shared_secret(NONCE_SECRET),
            store.now_ms,
            retry_after(times.retry_after_s),
            self.guard.note_proof,
        )
        layer = TransactionLayer(
            times.sip, token=branch_tokens(me.name), screen=self.guard.screen(self._authentication)
        )
        self.sip = SipServer(listener, layer, self.guard.door(layer, self._authentication))
        self.relays = Relays(
            me,
            self.registry.list_relays,
            poll_s=times.relay_poll_s,
            silent_s=times.relay_silent_s,
            tls=settings.tls,
        )
        self.relay_ports = RelayPorts(self.registry.list_relays)
        media = MediaCommands(self.relays, MediaPeers(self.gateway, self.relay_ports))
        self.responses = InviteResponses(self.sip, self.records, self._tasks, times.sip)
        requests = DialogRequests(self.sip, self.local)
        self.left_sessions = LeftSessions(media, self._tasks, self.relays.is_silent)
        placements = Placements(
            self.registry,
            self._tasks,
            self.relays,
            RegistryOutage(times.registry_away_s),
            self.left_sessions,
        )
        self.ending = CallEnding(
            self.records, self.live, media, placements, self.responses, requests, self._tasks, self.local
        )
        self.deadlines = Deadlines(self.live, self._tasks, store.now_ms)
        allocations = Allocations(self.gateway)
        fallbacks = Fallbacks(self.records, self.gateway, store.now_ms)
        flow = CallFlow(
            settings,
            self.records,
            placements,
            allocations,
            media,
            self.responses,
            self.ending,
            self.deadlines,
            self.gateway,
            fallbacks,
            store.now_ms,
        )
        reinvites = Reinvites(self.sip, self.local)
        refreshes = TargetRefreshes(
            settings.limits.refreshes, self.records, media, reinvites, self.ending, self.gateway
        )
        self.moves = Moves(
            settings,
            self.records,
            self.relays,
            placements,
            allocations,
            media,
            reinvites,
            self.ending,
            self.gateway,
            self.left_sessions,
            self._tasks,
            store.now_ms,
        )
        self.losses = RelayLosses(
            self.records,
            self.live,
            self.relays,
            self.moves,
            self._tasks,
            hold_off_s=times.move_hold_off_s,
        )
        delivery = Delivery(me.name, self.records, self.sip, self.edges)
        self.intake = Intake(
            settings,
            store,
            self.records,
            self.sip,
            self.live,
            flow,
            self.ending,
            self.deadlines,
            delivery,
            self.gateway,
            self.local,
            Entry(
                self._authentication,
                self.guard.ledger,
                SetupWindow(settings.limits.window),
                retry_after(times.retry_after_s),
            ),
            CallLimits(
                lambda: self.records.owned,
                lambda: self.registry.count_calls(except_owner=me.incarnation),
                retry_after(times.retry_after_s),
            ),
        )
        offers = Offers(
            self.records,
            self.sip,
            self.responses,
            media,
            self.ending,
            self.deadlines,
            self.gateway,
            self.local,
        )
        transfers = Transfers(
            self.records,
            self.sip,
            self.live,
            media,
            requests,
            self.ending,
            self.local,
            timeout_s=times.transfer_s,
        )
        in_dialog = InDialog(
            settings,
            self.records,
            self.sip,
            self.responses,
            self.ending,
            offers,
            transfers,
            delivery,
            self.intake,
        )
        self.dispatcher = Dispatcher(settings, self.sip, self.intake, in_dialog, delivery, self._requests)
        self.events = MediaEvents(
            self.records,
            self.live,
            self.ending,
            transfers,
            self.moves,
            self.gateway,
            fallbacks,
            flow,
            self._tasks,
        )
        self.claims = Claims(
            me,
            call_store,
            self.records,
            self.edges,
            self.live,
            flow,
            media,
            Reinviting(self.moves, refreshes),
            self.losses,
            self.responses,
            self.ending,
            self.deadlines,
            self.local,
            self._tasks,
            may_judge=self.leases.may_judge,
        )
        self.rescue = Rescue(self.records, self.live, self.ending, self.deadlines, self.moves, self._tasks)
        self._redis = RedisWatch(store, self.records, self.journal)
        service = EdgeService(
            me.name, self.sip, self.live, self.ending, self.guard, response_wait_s=times.delivered_response_s
        )
        self._grpc = GrpcServer(settings.listen, tls=settings.tls)
        self._grpc.add(service, add_EdgeServiceServicer_to_server, SERVICE_NAME)
        self._has_lease = False
        self._beating: asyncio.Task[None] | None = None
        self._probes = Probes(Vitals(is_ready=self._is_ready), admin=settings.admin, health=settings.health)
        self._wire()

    async def start(self) -> dict[str, str]:
        """Serve; gives the addresses really bound."""
        grpc_port = await self._grpc.start()
        listen = HostPort(HostPort.parse(self._settings.listen).host, grpc_port)
        bound = {
            "sip": f"{self.sip.address.host}:{self.sip.address.port}",
            "listen": str(listen),
            **await self._probes.start(),
        }
        self._spawn_watches(self._reachable(listen))
        self.sip.start(self.dispatcher.handle)
        return bound

    async def stop(self) -> None:
        """New calls get 503; every call of this edge is ended, bounded by `shutdown_s`, or handed over."""
        self.intake.is_stopping = True
        if self._settings.on_stop is OnStop.HAND_OVER:
            await self._hand_over()
            return
        end = End(calls.END_CAUSE_SHUTDOWN, "the gateway is shut down")
        for live in self.live:
            shut_down = self.ending.end(live.call_id, end, as_owner=True)
            self._tasks.spawn(shut_down, "shut down", call_id=live.call_id)
        try:
            async with asyncio.timeout(self._settings.times.shutdown_s):
                await self.live.all_gone()
        except TimeoutError:
            _log.warning("calls_left_behind", calls=len(self.live))
        await self.aclose()

    async def aclose(self) -> None:
        """Close everything, calls or not; the calls left are free to be claimed at once."""
        await self._give_up_lease()
        await self.vanish()

    async def vanish(self) -> None:
        """Close everything without a word to anybody, as a process that dies does."""
        self.sip.stop_reading()
        await self._requests.aclose()
        await self._tasks.aclose()  # before the answers awaited are given up: no task takes that for a 408
        self.sip.close()
        await self.relays.aclose()
        await self.edges.aclose()
        await self.registry.aclose()
        await self._grpc.stop(0.5)
        await self._probes.aclose()
        await self._store.aclose()

    async def _hand_over(self) -> None:
        """Finish what is under way, leave the calls to the other edges, answer what has come meanwhile."""
        times = self._settings.times
        in_flight = InFlight(self.records, self.sip, self._requests)
        is_finished = await in_flight.finished(times.hand_over_s)
        await self._give_up_lease()
        _log.info("calls_handed_over", calls=len(self.live), is_finished=is_finished)
        self.sip.stop_reading()
        await in_flight.all_responded(times.last_responses_s)
        await self.vanish()

    async def _give_up_lease(self) -> None:
        if self._beating is not None:
            self._beating.cancel()  # else it would take the lease again
            await asyncio.gather(self._beating, return_exceptions=True)
        try:
            await self.leases.give_up(self._settings.identity)
        except StoreUnavailable:
            _log.warning("lease_not_given_up")

    def _reachable(self, listen: HostPort) -> str:
        """Where other processes reach edge/v1: the listening host unless that is any."""
        host = self._settings.advertise_host if listen.host in {"0.0.0.0", "::"} else listen.host
        return str(HostPort(host, listen.port))

    def _wire(self) -> None:
        self.records.on_lost = self._let_go
        self.responses.on_no_ack = self._no_ack
        self.deadlines.on_due = self._due
        self.relays.on_event = self.events.handle
        self.relays.on_attached = self._relay_attached
        self.relays.on_silent = self.losses.note_silent
        self.relays.on_gone = self.losses.note_gone

    def _spawn_watches(self, address: str) -> None:
        def beat() -> Coroutine[None, None, None]:
            return self.leases.run(
                self._settings.identity, address, on_lapse=self._edge_lapsed, on_change=self._note_edges
            )

        def sweep() -> Coroutine[None, None, None]:
            period_s = self._settings.times.reconcile_s
            return sweep_forever(self.claims, period_s, self._wake_sweep, self.edges.close_gone)

        self._beating = self._tasks.keep(beat, "lease")
        self._tasks.keep(self._sweep_when_judging, "first sweep")
        self._tasks.keep(lambda: self.registry.follow_config(self._take_config), "config")
        self._tasks.keep(self._redis.run, "redis")
        self._tasks.keep(lambda: self.relays.watch(self._relays_in_use), "relays")
        self._tasks.keep(self.relay_ports.follow, "relay ports")
        self._tasks.keep(sweep, "sweep")
        self._tasks.keep(self.rescue.run, "rescue calls")
        stranded = StrandedCalls(self.edges, self.claims, silent_s=self._settings.times.edge_silent_s)
        self._tasks.keep(stranded.watch, "stranded calls")
        self._tasks.keep(self._learn_secret, "secret")

    def _take_config(self, gateway: config.GatewayConfig) -> None:
        settings = self._settings
        addresses = gateway.gateway.advertised_addresses
        self.local.host = addresses.get(settings.node) or settings.advertise_host
        self.gateway.take(gateway)
        self.guard.take_config(gateway)

    def _note_edges(self, leases: list[EdgeLease]) -> None:
        self._has_lease = True
        self.edges.note(leases)

    def _serves(self, call_id: str) -> bool:
        return self.live.get(call_id) is not None or self.records.copy_of(call_id) is not None

    def _is_ready(self) -> bool:
        """There is a config to route by, and Redis has known this edge.

        That Redis goes away later changes nothing: calls in progress are served, and a new one is better told
        503 than left without an answer by a load balancer that has no edge left.
        """
        return self.gateway.taken.is_set() and self._has_lease and not self.intake.is_stopping

    def _task_crashed(self, task: str) -> None:
        self.rescue.crashed(task)

    async def _sweep_when_judging(self) -> None:
        """Calls that wait for an edge, the only one having been restarted, are claimed as soon as may be."""
        while not self.leases.may_judge():  # noqa: ASYNC110 - a matter of time passed
            await asyncio.sleep(_JUDGE_POLL_S)
        self._wake_sweep.set()

    async def _learn_secret(self) -> None:
        """The keys of call ids and nonces, before the first call needs them."""
        while True:
            try:
                await self._store.shared_secret(CALL_ID_SECRET)
                await self._authentication.learn_key()
                return
            except StoreUnavailable:
                await asyncio.sleep(0.25)

    def _let_go(self, session: calls.CallSession) -> None:
        """The record says that the call has ended, or that another edge owns it."""
        self.responses.stop(session.call_id)
        live = self.live.remove(session.call_id)
        if live is None or live.invite_key is None or session.answered_ms:
            return
        try:
            self._respond_from_record(live.invite_key, session.legs[0])
        except Exception:  # the record is saved; that its INVITE can't be told must not undo that
            metrics.STEPS_FAILED.labels("answer").inc()
            live.log.exception("end_step_failed", step="answer")
            self.sip.fail(live.invite_key, session.legs[0].dialog.local_tag)

    def _respond_from_record(self, invite: TransactionKey, leg: calls.Leg) -> None:
        """The end was decided elsewhere; the transaction is here."""
        final = InviteResponseTemplate.from_record(leg, "") if leg.invite.last_final else None
        if final is not None:
            self.sip.respond(invite, final.response)

    async def _no_ack(self, call_id: str) -> None:
        await self._end_quietly(call_id, End(calls.END_CAUSE_NO_ACK, "no ACK for our 200"))

    async def _due(self, session: calls.CallSession, cause: calls.EndCause.ValueType, reason: str) -> None:
        current = self.records.copy_of(session.call_id)
        if current is None or current.state != session.state:
            return
        is_ringing = session.state == calls.CALL_STATE_RINGING
        status = no_bot_status(self.gateway.route(session.route)) if is_ringing else 0
        await self._end_quietly(session.call_id, End(cause, reason, status), as_owner=True)

    async def _end_quietly(self, call_id: str, end: End, *, as_owner: bool = False) -> None:
        try:
            await self.ending.end(call_id, end, as_owner=as_owner)
        except StoreUnavailable as error:
            _log.warning("end_not_saved", call_id=call_id, error=str(error))

    def _relays_in_use(self) -> set[Identity]:
        anchors = (
            anchor
            for session in self.records.owned
            for anchor in (session.media, session.move.target, session.move.left)
        )
        used = {identity_of(anchor.relay) for anchor in anchors if anchor.relay.incarnation}
        return used | self.left_sessions.relays

    def _relay_attached(self, who: Identity) -> None:
        self._tasks.spawn(self.claims.adopt_all_of(who), "adopt")
        self.left_sessions.retry(who)

    async def _edge_lapsed(self, lease: EdgeLease) -> None:
        _log.warning("edge_lapsed", edge=str(lease.identity))
        self.edges.forget(lease.identity)
        self._wake_sweep.set()
