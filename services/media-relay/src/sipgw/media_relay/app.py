"""The relay process: build its parts, run them, and drain at SIGTERM."""

import asyncio
import random
import resource
import sys
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import REGISTRY

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1.control_pb2_grpc import add_RelayControlServiceServicer_to_server
from sipgw.control import Beat
from sipgw.media_relay.bots.interface import BotSpeech, BotStage
from sipgw.media_relay.calls.bot_actions import BotActions
from sipgw.media_relay.calls.bot_speech import SpeechPlayer
from sipgw.media_relay.calls.call_bots import CallBots
from sipgw.media_relay.calls.drain import PERIOD_TICKS, Drain
from sipgw.media_relay.calls.ending import Ending
from sipgw.media_relay.calls.event_log import EventLog
from sipgw.media_relay.calls.housekeeping import Housekeeping
from sipgw.media_relay.calls.media_reports import MediaReports
from sipgw.media_relay.calls.parts import CallParts
from sipgw.media_relay.calls.sessions import Sessions
from sipgw.media_relay.control.allocation import Allocation
from sipgw.media_relay.control.commands import Commands
from sipgw.media_relay.control.registrar import Registrar
from sipgw.media_relay.control.service import SERVICE_NAME, RelayControlServicer
from sipgw.media_relay.errors import PortRangeError
from sipgw.media_relay.load.gc_pauses import GcPauses
from sipgw.media_relay.load.head_room import RelayHeadRoom
from sipgw.media_relay.load.tick import TICK_S, TickClock
from sipgw.media_relay.metrics import RelayMetrics
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.pipeline.stage import Tick
from sipgw.media_relay.plane.media_plane import MediaPlane
from sipgw.media_relay.ports.local_addresses import RelayAddresses
from sipgw.media_relay.ports.local_ports import node_port_warning, overlap_warning
from sipgw.media_relay.ports.port_pool import PortPool, bind_address, check_range
from sipgw.media_relay.rtp.playout import PlayoutQueue
from sipgw.media_relay.settings import RelayEndpoints, RelaySettings
from sipgw.media_relay.stages.echo import EchoStage
from sipgw.media_relay.stages.grpc_bridge import GrpcBridgeStage
from sipgw.media_relay.stages.pauses import PauseStage
from sipgw.media_relay.stages.recorder import RecorderStage
from sipgw.media_relay.stages.recording_writer import RecordingWriter
from sipgw.media_relay.stages.turns import TurnStage
from sipgw.rtp.errors import KernelsUnavailable
from sipgw.rtp.kernels import library
from sipgw.rtp.kernels.columns import new_calls
from sipgw.runtime.errors import StartupError
from sipgw.runtime.grpc_server import GrpcServer
from sipgw.runtime.health import Probes
from sipgw.runtime.lifecycle import Lifecycle, announce_ready
from sipgw.runtime.settings import HostPort, Identity, new_identity
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.vitals import Vitals

MAX_ROWS: Final = 8192
KERNELS: Final = "sipgw.media_relay.kernels"
"""The package of the media plane's kernels, beside sipgw.rtp.kernels."""
_OTHER_FILES: Final = 512
_SWITCH_S: Final = 0.001
DOUBTFUL_STALL_S: Final = 0.75
"""How long the relay may stand still before its calls are in doubt.

Edges move the calls of a relay that is silent for this long.
"""
_LAST_WORDS_S: Final = 0.2
"""How long to wait, when stopping, for edges to hear that the sessions have ended."""
_STALLED_S: Final = 5.0
"""How long without a tick counts as stalled: the clock does not recover from that by itself."""
_log = get_logger("sipgw.media_relay")


class Relay:
    """One relay: media plane, calls, control service.

    `new_bots` makes the bot streams. It is given the sink for the bots' speech.
    """

    def __init__(
        self,
        settings: RelaySettings,
        identity: Identity,
        loop: asyncio.AbstractEventLoop,
        new_bots: Callable[[BotSpeech], BotStage] | None = None,
    ) -> None:
        self._settings = settings
        self._loop = loop
        self.identity = identity
        pool, self.warnings = _port_pool(settings)
        _load_kernels()
        rows = min(settings.rtp.pairs, MAX_ROWS)
        self.warnings += _allow_sockets(rows)
        self.clock = TickClock(loop, self._on_tick, may_rest=self._may_rest)
        self.head_room = RelayHeadRoom(self.clock)
        self.gc_pauses = GcPauses()
        self.events = EventLog()
        self.sessions = Sessions(rows, loop.time)
        self.writer = RecordingWriter()
        columns = new_calls(rows)
        playout = PlayoutQueue(columns)
        self.speech = SpeechPlayer(self.sessions, playout)
        self.bridge = (
            new_bots(self.speech) if new_bots else GrpcBridgeStage(self.speech, instance=str(identity))
        )
        echo, recorder, pauses = (
            EchoStage(rows, playout),
            RecorderStage(columns, self.writer),
            PauseStage(rows),
        )
        bots = CallBots(self.bridge, echo, self.events)
        reports = MediaReports(self.sessions, self.events, bots)
        turns = TurnStage(columns, reports.bot_responded)
        pipeline = MediaPipeline((recorder, pauses, turns, echo, self.bridge))
        local = RelayAddresses(settings.rtp.first_port, settings.rtp.last_port)
        self.plane = MediaPlane(pool, playout, pipeline, reports, local)
        parts = CallParts(self.sessions, self.events, bots, self.plane, recorder, turns)
        self._ending = Ending(parts)
        self.actions = BotActions(parts, self._ending, loop)
        self._allocation = Allocation(
            parts, self.head_room, self.actions, settings.rtp.advertise, before_call=self.clock.wake
        )
        self.commands = Commands(parts, self._allocation, self._ending, reports)
        self.control = RelayControlServicer(identity, self.commands, self.events)
        self.drain = Drain(parts, pauses)
        self._housekeeping = Housekeeping(parts, self._ending, media_timeout_s=settings.media_timeout_s)
        self.drain_times = settings.drain
        self._next_housekeeping = 0
        self._tick_number = 0

    def start(self) -> None:
        """Start the writer of recordings and the clock."""
        sys.setswitchinterval(_SWITCH_S)  # how long the tick may wait for the thread that writes recordings
        self.writer.start()
        self.head_room.begin()
        self.gc_pauses.start()
        self.clock.start()

    async def aclose(self) -> None:
        """End all calls, tell their edges, and close everything."""
        self._ending.end_all("the relay is stopping")
        await asyncio.sleep(_LAST_WORDS_S)
        self.clock.stop()
        self.gc_pauses.stop()
        await self.bridge.aclose()
        self.plane.shutdown()
        self.writer.close()

    @property
    def tasks(self) -> int:
        """The tasks of the event loop."""
        return len(asyncio.all_tasks(self._loop))

    @property
    def capacity_units(self) -> int:
        """The cost units that placement may put on this relay."""
        return self._settings.capacity or self._settings.rtp.pairs

    def beat(self) -> Beat:
        """Return the content of the next heartbeat."""
        return Beat(
            call_ids=self.sessions.call_ids,
            used_units=self.sessions.used_units,
            draining=self.head_room.gives_away,
            full=bool(self.head_room.full_reason()),
            late=self.head_room.is_late,
            ports_free=self.plane.pool.free,
        )

    @property
    def is_ticking(self) -> bool:
        """Whether the media plane's clock runs."""
        return self.clock.lag_s < _STALLED_S

    def advertise(self, address: str) -> None:
        """Tell new calls this address, and put their ports on it where it is this machine's."""
        self._allocation.advertise(address)
        self.plane.pool.move_to(bind_address(self._settings.rtp.bind, address))

    def follow(self, gateway: config_pb2.GatewaySettings) -> None:
        """Take the times of a drain from the config, except those that the flags fix."""
        self.drain_times = self._settings.drain.following(gateway)

    def set_draining(self, drain: bool) -> None:  # noqa: FBT001 - RelayHeartbeat's callback
        """Begin or stop giving calls away, as the registry says."""
        self.head_room.drain(on=drain)
        if drain:
            self.drain.begin(self._tick_number, self.drain_times.deadline_s)
        elif not self.head_room.is_stopping:
            self.drain.stop()

    def stop_serving(self) -> None:
        """Take no new calls and have the present ones moved, in mid-word too after half of the drain time."""
        self.head_room.stop()
        self.drain.begin(self._tick_number, self.drain_times.stopping_deadline_s)

    def _may_rest(self) -> bool:
        return not len(self.sessions)

    def _on_tick(self, tick: Tick, missed: int) -> None:
        if missed * TICK_S >= DOUBTFUL_STALL_S:
            _log.warning("stood_still", seconds=round(missed * TICK_S, 2), calls=len(self.sessions))
            self._ending.doubt_all()
            self.control.close_streams()
        self._tick_number = tick.number
        self.plane.on_tick(tick, missed)
        if self.drain.is_active and tick.number % PERIOD_TICKS == 0:
            self.drain.step(tick.number, self.sessions.now_s)
        if tick.number >= self._next_housekeeping:
            self._next_housekeeping = tick.number + int(1 / TICK_S)
            self.head_room.measure(has_calls=len(self.sessions) > 0)
            self._housekeeping.step(tick.number, TICK_S)


async def run_relay(settings: RelaySettings, lifecycle: Lifecycle) -> int:
    """Run until told to stop, then drain.

    Take no new calls and wait, within a bound, for the present ones.
    """
    endpoints, rtp = settings.endpoints, settings.rtp
    identity = new_identity(settings.identity.name)
    relay = Relay(settings, identity, asyncio.get_running_loop())
    server = GrpcServer(endpoints.listen, tls=endpoints.tls)
    server.add(
        relay.control,
        add_RelayControlServiceServicer_to_server,
        SERVICE_NAME,
    )
    control_port = await server.start()
    REGISTRY.register(RelayMetrics(relay))
    relay.start()
    tasks = TaskGroupOwner("relay")
    registrar = None
    if endpoints.registry:
        registrar = Registrar(relay, settings, control_port, relay.warnings)
        tasks.spawn(registrar.run(), "registrar")
    probes = _probes(relay, endpoints, registrar)
    bound = await probes.start()
    lifecycle.freeze_heap()
    host = HostPort.parse(endpoints.listen).host
    announce_ready(
        listen=str(HostPort(host, control_port)),
        rtp=f"{rtp.advertise}:{rtp.first_port}-{rtp.last_port}",
        incarnation=identity.incarnation,
        **bound,
    )
    await lifecycle.stopping.wait()
    relay.stop_serving()
    if registrar is not None:
        registrar.beat_now()
    await wait_for_calls(relay, relay.drain_times.most_s)
    await relay.aclose()
    await tasks.aclose()
    await server.stop(0.5)
    await probes.aclose()
    return 0


def _load_kernels() -> None:
    """Load the machine code of the media plane. The first start on a machine makes it."""
    begun = time.monotonic()
    compiled: list[str] = []

    def on_compile() -> None:
        compiled.append(KERNELS)
        _log.info(
            "compiling_kernels", reason="the first start of this version here", takes="about twenty seconds"
        )

    try:
        library.prepare(KERNELS, on_compile)
    except KernelsUnavailable as error:
        raise StartupError(str(error)) from error
    if compiled:
        _log.info("kernels_compiled", seconds=round(time.monotonic() - begun, 1))


async def wait_for_calls(relay: Relay, longest_s: float) -> None:
    """Wait until the last call has ended, or the time is up; with no time, wait for nothing."""
    if not longest_s:
        return
    try:
        async with asyncio.timeout(longest_s):
            await relay.sessions.wait_until_empty()
    except TimeoutError:
        _log.warning("drain_timed_out", calls=len(relay.sessions))


def _probes(relay: Relay, endpoints: RelayEndpoints, registrar: Registrar | None) -> Probes:
    """Make the probes.

    Live: the clock ticks. Ready: the registry knows the relay, so that a rolling update waits for it.
    """

    def is_ready() -> bool:
        is_known = registrar is None or registrar.was_registered
        return is_known and relay.is_ticking and not relay.head_room.is_stopping

    return Probes(
        Vitals(is_ready=is_ready, is_live=lambda: relay.is_ticking),
        admin=HostPort.parse(endpoints.admin) if endpoints.admin else None,
        health=HostPort.parse(endpoints.health) if endpoints.health else None,
    )


def _allow_sockets(pairs: int) -> list[str]:
    """Raise the limit of open files, since a call has three sockets; return a warning if it stays too low."""
    wanted = 3 * pairs + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft >= wanted:
        return []
    _log.warning("few_files_allowed", allowed=soft, wanted=wanted, cure="raise ulimit -n")
    return [f"only {soft} open files of the {wanted} that all ports need are allowed: raise ulimit -n"]


def _port_pool(settings: RelaySettings) -> tuple[PortPool, list[str]]:
    """Make the pool of RTP ports; return it with warnings about the range."""
    rtp = settings.rtp
    low, high = rtp.first_port, rtp.last_port
    try:
        check_range(low, high)
        bind = bind_address(rtp.bind, rtp.advertise)
        pool = PortPool(bind, low, high, random.SystemRandom())
        taken = pool.probe()
    except PortRangeError as error:
        raise StartupError(str(error)) from error
    warnings: list[str] = []
    if taken:
        warnings.append(f"{len(taken)} pairs of RTP ports of {low}-{high} are taken, {taken[0]} the first")
    overlaps = [overlap_warning(low, high), node_port_warning(low, high) if settings.identity.node else ""]
    warnings += filter(None, overlaps)
    for warning in warnings:
        _log.warning("rtp_ports_doubtful", reason=warning)
    return pool, warnings
