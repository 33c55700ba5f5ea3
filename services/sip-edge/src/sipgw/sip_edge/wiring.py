"""Make the parts of an edge and connect them."""

import time

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.edge.v1.edge_pb2_grpc import add_EdgeServiceServicer_to_server
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import CallStore, EdgeLeases
from sipgw.control import RegistryClient
from sipgw.runtime.grpc_server import GrpcServer
from sipgw.runtime.health import Probes
from sipgw.runtime.settings import Identity
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.vitals import Vitals
from sipgw.sip import TransactionLayer
from sipgw.sip_edge.call.allocation import Allocations
from sipgw.sip_edge.call.deadlines import Deadlines
from sipgw.sip_edge.call.ending import CallEnding
from sipgw.sip_edge.call.fallback import Fallbacks
from sipgw.sip_edge.call.live_calls import LiveCalls
from sipgw.sip_edge.call.lost_calls import LostCalls
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.call.setup_window import SetupWindow
from sipgw.sip_edge.dialog.in_dialog import DialogParts, InDialog
from sipgw.sip_edge.dialog.keys import Keys
from sipgw.sip_edge.dialog.offers import Offers
from sipgw.sip_edge.dialog.transfer import Transfers
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.guard.authentication import NONCE_SECRET, Authentication, Passwords
from sipgw.sip_edge.guard.stranger_guard import StrangerGuard
from sipgw.sip_edge.inbound.claims import Claims, Owners
from sipgw.sip_edge.inbound.config_updates import ConfigUpdates
from sipgw.sip_edge.inbound.dispatcher import Dispatcher
from sipgw.sip_edge.inbound.edge_service import SERVICE_NAME, EdgeService
from sipgw.sip_edge.inbound.media_events import MediaEvents
from sipgw.sip_edge.inbound.rescue import Rescue
from sipgw.sip_edge.inbound.resumption import Reinviting, Resumption
from sipgw.sip_edge.inbound.stranded import StrandedCalls
from sipgw.sip_edge.inbound.sweeper import Sweeper
from sipgw.sip_edge.media.commands import MediaCommands
from sipgw.sip_edge.media.left_sessions import LeftSessions
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.media.peers import MediaPeers
from sipgw.sip_edge.media.placement import Placements
from sipgw.sip_edge.media.registry_outage import RegistryOutage
from sipgw.sip_edge.media.relay_map import RelayMap
from sipgw.sip_edge.media.relays import RelayCallbacks, Relays
from sipgw.sip_edge.move.move_ends import MoveEnds
from sipgw.sip_edge.move.moves import Moves
from sipgw.sip_edge.move.new_address import NewAddress
from sipgw.sip_edge.move.new_relay import NewRelay
from sipgw.sip_edge.move.reinvites import Reinvites
from sipgw.sip_edge.move.relay_losses import RelayLosses
from sipgw.sip_edge.move.target_refreshes import TargetRefreshes
from sipgw.sip_edge.peers.delivery import Delivery
from sipgw.sip_edge.peers.edges import Edges
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record.journal import Journal
from sipgw.sip_edge.record.records import CallRecords
from sipgw.sip_edge.record.redis_watch import RedisWatch
from sipgw.sip_edge.settings import EdgeSettings
from sipgw.sip_edge.setup.bots import Bots
from sipgw.sip_edge.setup.call_flow import CallFlow
from sipgw.sip_edge.setup.call_ids import CallIds
from sipgw.sip_edge.setup.call_limits import CallLimits
from sipgw.sip_edge.setup.cancels import Cancels
from sipgw.sip_edge.setup.entry import Entry
from sipgw.sip_edge.setup.first_media import FirstMedia
from sipgw.sip_edge.setup.intake import Intake, NewCalls
from sipgw.sip_edge.sip.dialogs import DialogRequests, LocalContact
from sipgw.sip_edge.sip.identifiers import branch_tokens
from sipgw.sip_edge.sip.invite_responses import InviteResponses, NoAck
from sipgw.sip_edge.sip.listeners import UdpListener
from sipgw.sip_edge.sip.local_tags import LocalTags
from sipgw.sip_edge.sip.responses import retry_after
from sipgw.sip_edge.sip.second_way import SecondWay
from sipgw.sip_edge.sip.server import SipServer
from sipgw.sip_edge.sip.signalling import Signalling
from sipgw.store import Store

_CALL_ID_SECRET = "call-id"
_TAG_SECRET = "local-tag"


class EdgeParts:
    """The parts of one edge, each made after those that it uses. Nothing runs until `EdgeApp` starts it."""

    def __init__(self, settings: EdgeSettings, store: Store, listener: UdpListener) -> None:
        self.store = store
        self.registry = RegistryClient(settings.registry, tls=settings.tls)
        self.leases = EdgeLeases(store)
        self.edges = Edges(settings.identity, tls=settings.tls)
        self.process = process = Process(
            settings,
            ConfigHolder(),
            TaskGroupOwner("edge", on_crash=self._task_crashed),
            TaskGroupOwner("requests", on_crash=self._task_crashed),
            store.now_ms,
        )
        index = CallStore(store)
        self.journal = Journal()
        records = CallRecords(index, settings.identity, self.journal, self._call_lost)
        self.redis = RedisWatch(store, records, self.journal)
        self.guard = StrangerGuard(settings, process.gateway, self._serves, process.now_ms)
        self.authentication = _authentication(process, store, self.guard)
        tags = LocalTags(lambda: store.shared_secret(_TAG_SECRET), time.monotonic)
        sip = _server(settings, listener, self.guard, self.authentication, tags)
        self.signalling = _signalling(process, sip, records, self._no_ack)
        self.updates = ConfigUpdates(process, self.signalling.local, self.guard)
        self.relay_map = RelayMap()
        on_relay = RelayCallbacks(
            self._media_event, self._relay_attached, self._relay_silent, self._relay_gone
        )
        self.media = _media(process, self.registry, self.relay_map, on_relay)
        self.served = _served(process, records, self.media, self.signalling)
        self.lost = LostCalls(self.served.live, self.signalling)
        first_media = FirstMedia(process.gateway, self.media.commands)
        bots = Bots(process, self.served, self.media, first_media)
        flow = CallFlow(process, self.served, self.media, self.signalling, first_media, bots)
        self.reinviting = _reinviting(process, self.served, self.media, self.signalling)
        delivery = Delivery(settings.identity.name, records, sip, self.edges)
        entry = _entry(process, self.authentication, self.guard)
        ids = CallIds(lambda: store.shared_secret(_CALL_ID_SECRET), tags)
        self.new_calls = _new_calls(process, self.registry, records, entry, first_media, ids)
        self.intake = Intake(process, self.served, self.signalling, flow, delivery, self.new_calls)
        cancels = Cancels(process, self.served, sip, delivery, self.intake, ids)
        self.offers = offers = Offers(process, self.served, self.media, self.signalling)
        transfers = Transfers(process, self.served, self.media, self.signalling)
        keys = Keys(records, self.media.commands)
        parts = DialogParts(offers, transfers, keys)
        in_dialog = InDialog(process, self.served, self.signalling, parts, delivery)
        self.dispatcher = Dispatcher(process, sip, self.intake, cancels, in_dialog, delivery)
        self.events = MediaEvents(process, self.served, transfers, self.reinviting.moves, bots)
        self.resumption = Resumption(self.served, self.media.commands, self.signalling, flow, self.reinviting)
        owners = Owners(index, self.edges, self.leases.may_judge)
        claims = Claims(process, self.served, owners, self.reinviting.losses, self.resumption)
        self.sweeper = Sweeper(claims, owners, period_s=settings.times.reconcile_s)
        self.stranded = StrandedCalls(self.edges, claims, silent_s=settings.times.edge_silent_s)
        self.rescue = Rescue(process, self.served, self.reinviting.moves, offers)
        self.grpc = _grpc(settings, sip, self.served, self.guard)
        vitals = Vitals(is_ready=self._is_ready)
        self.probes = Probes(vitals, admin=settings.admin, health=settings.health)

    def _is_ready(self) -> bool:
        """Tell whether there is a config to route by and Redis has had a lease of this edge.

        An edge stays ready when Redis goes away later: it serves its calls and responds to new ones with 503,
        which is better than a load balancer without any edge.
        """
        return self.process.gateway.taken.is_set() and self.edges.is_known and not self.intake.is_stopping

    # -- callbacks from parts to parts made after them

    def _task_crashed(self, task: str) -> None:
        self.rescue.note_crash(task)

    def _call_lost(self, record: calls.CallSession) -> None:
        self.lost.let_go(record)

    def _serves(self, call_id: str) -> bool:
        return self.served.live.get(call_id) is not None or self.served.records.copy_of(call_id) is not None

    async def _no_ack(self, call_id: str) -> None:
        await self.served.deadlines.no_ack(call_id)

    async def _media_event(self, identity: Identity, event: relay.MediaEvent) -> None:
        await self.events.handle(identity, event)

    def _relay_attached(self, identity: Identity) -> None:
        self.process.tasks.spawn(self.resumption.adopt_all_of(identity), "adopt")
        self.media.left_sessions.retry(identity)

    def _relay_silent(self, identity: Identity) -> None:
        self.reinviting.losses.note_silent(identity)

    def _relay_gone(self, identity: Identity) -> None:
        self.reinviting.losses.note_gone(identity)


def _authentication(process: Process, store: Store, guard: StrangerGuard) -> Authentication:
    settings = process.settings
    return Authentication(
        Passwords(settings.seal_key_file),
        settings.limits.wrong_passwords,
        lambda: store.shared_secret(NONCE_SECRET),
        process.now_ms,
        retry_after(settings.times.retry_after_s),
        guard.note_proof,
    )


def _server(
    settings: EdgeSettings,
    listener: UdpListener,
    guard: StrangerGuard,
    authentication: Authentication,
    tags: LocalTags,
) -> SipServer:
    layer = TransactionLayer(
        settings.times.sip,
        token=branch_tokens(settings.identity.name),
        screen=guard.screen(authentication),
    )
    return SipServer(listener, layer, guard.door(layer, authentication, tags))


def _signalling(process: Process, sip: SipServer, records: CallRecords, on_no_ack: NoAck) -> Signalling:
    settings = process.settings
    local = LocalContact(settings.advertise_host, settings.advertise_port or sip.address.port)
    responses = InviteResponses(process, sip, records, on_no_ack)
    ways = SecondWay(sip, settings.times.sip.t1_s)
    return Signalling(sip, responses, DialogRequests(ways, local, records.learn_way), ways, local)


def _media(
    process: Process, registry: RegistryClient, relay_map: RelayMap, callbacks: RelayCallbacks
) -> MediaPlane:
    relays = Relays(process.settings, registry.list_relays, relay_map, callbacks)
    commands = MediaCommands(relays, MediaPeers(process.gateway, relay_map))
    left_sessions = LeftSessions(commands, process.tasks, relays.is_silent)
    outage = RegistryOutage(process.settings.times.registry_away_s)
    return MediaPlane(
        relays, Placements(registry, process.tasks, relays, outage, left_sessions), commands, left_sessions
    )


def _served(process: Process, records: CallRecords, media: MediaPlane, signalling: Signalling) -> ServedCalls:
    live = LiveCalls()
    ending = CallEnding(process, records, live, media, signalling)
    return ServedCalls(
        records,
        live,
        ending,
        Deadlines(process, records, live, ending),
        Fallbacks(records, process.gateway, process.now_ms),
        Allocations(process.gateway),
    )


def _reinviting(
    process: Process, served: ServedCalls, media: MediaPlane, signalling: Signalling
) -> Reinviting:
    reinvites = Reinvites(signalling, served.records.learn_way)
    ends = MoveEnds(process, served, media)
    new_address = NewAddress(process, served, media, reinvites, ends)
    new_relay = NewRelay(process, served, media, new_address, ends)
    moves = Moves(process, served, new_relay, new_address, ends)
    refreshes = TargetRefreshes(process, served, media, reinvites)
    return Reinviting(moves, refreshes, RelayLosses(process, served, media.relays, moves))


def _entry(process: Process, authentication: Authentication, guard: StrangerGuard) -> Entry:
    settings = process.settings
    headers = retry_after(settings.times.retry_after_s)
    return Entry(authentication, guard.ledger, SetupWindow(settings.limits.window), headers)


def _new_calls(
    process: Process,
    registry: RegistryClient,
    records: CallRecords,
    entry: Entry,
    first_media: FirstMedia,
    ids: CallIds,
) -> NewCalls:
    me, times = process.settings.identity, process.settings.times
    limits = CallLimits(
        lambda: records.owned,
        lambda: registry.count_calls(except_owner=me.incarnation),
        retry_after(times.retry_after_s),
    )
    return NewCalls(entry, limits, ids, first_media)


def _grpc(settings: EdgeSettings, sip: SipServer, served: ServedCalls, guard: StrangerGuard) -> GrpcServer:
    service = EdgeService(
        settings.identity.name,
        sip,
        served.live,
        served.ending,
        guard,
        response_wait_s=settings.times.delivered_response_s,
    )
    server = GrpcServer(settings.listen, tls=settings.tls)
    server.add(service, add_EdgeServiceServicer_to_server, SERVICE_NAME)
    return server
