"""Edges for tests: in this process, on free ports, with short times; a test can kill one as SIGKILL does."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.runtime.patience import patient
from sipgw.runtime.settings import HostPort, new_identity
from sipgw.sip import Address, TimerValues
from sipgw.sip_edge.app import EdgeApp
from sipgw.sip_edge.limits import EdgeLimits
from sipgw.sip_edge.settings import EdgeSettings, EdgeTimes, OnStop
from sipgw.sip_edge.sip.listeners import UdpListener
from sipgw.sip_edge.wiring import EdgeParts
from sipgw.store import Store

FAST = EdgeTimes(
    sip=TimerValues(t1_s=0.1, t2_s=0.4, t4_s=0.2), shutdown_s=3.0, reconcile_s=0.5, relay_lost_s=1.5
)


def gateway_config(**route: object) -> config.GatewayConfig:
    """Make a config that routes every call to one bot; `route` are fields of that route."""
    gateway = config.GatewayConfig(
        epoch="test",
        version=1,
        gateway=config.GatewaySettings(
            name="test", codecs=[config.AUDIO_CODEC_PCMU, config.AUDIO_CODEC_PCMA], ptime_ms=20
        ),
        trunks=[config.Trunk(name="any")],
    )
    fields = {"name": "default", "bot_ready_timeout_ms": 3000, "no_bot_status": 480, **route}
    only = config.Route(**fields)  # pyright: ignore[reportArgumentType] - a test's own fields
    if not only.bots:
        only.bots.add(endpoint="builtin:echo", weight=1)
    gateway.routes.append(only)
    return gateway


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    """Poll until `holds`, for what no event announces. `within_s` is for a quiet machine."""
    async with asyncio.timeout(patient(within_s)):
        while not await holds():  # noqa: ASYNC110 - what is watched sets no event
            await asyncio.sleep(0.005)


class Inside:
    """The parts of an edge, by the names that tests use."""

    def __init__(self, parts: EdgeParts) -> None:
        self.gateway = parts.process.gateway
        self.tasks = parts.process.tasks
        self.store = parts.store
        self.registry = parts.registry
        self.leases = parts.leases
        self.edges = parts.edges
        self.journal = parts.journal
        self.relay_map = parts.relay_map
        self.guard = parts.guard
        self.authentication = parts.authentication
        self.updates = parts.updates
        self.sip = parts.signalling.sip
        self.responses = parts.signalling.responses
        self.relays = parts.media.relays
        self.records = parts.served.records
        self.live = parts.served.live
        self.ending = parts.served.ending
        self.deadlines = parts.served.deadlines
        self.moves = parts.reinviting.moves
        self.intake = parts.intake
        self.offers = parts.offers
        self.events = parts.events
        self.resumption = parts.resumption


class TestEdge:
    """An edge and its address."""

    __test__ = False

    def __init__(self, process: EdgeApp, bound: dict[str, str]) -> None:
        self.process = process
        self.app = Inside(process.parts)
        self.bound = bound
        self.sip: Address = self.app.sip.address
        self.is_gone = False

    @classmethod
    async def start(
        cls,
        name: str,
        redis_url: str,
        registry: str,
        times: EdgeTimes = FAST,
        limits: EdgeLimits | None = None,
        seal_key_file: Path | None = None,
        *,
        on_stop: OnStop = OnStop.END,
        sip_port: int = 0,
        trusted: tuple[str, ...] = ("127.0.0.1",),
    ) -> "TestEdge":
        """Start an edge on free ports of the loopback."""
        settings = EdgeSettings(
            identity=new_identity(name),
            sip=HostPort("127.0.0.1", sip_port),
            advertise_host="127.0.0.1",
            advertise_port=0,
            listen="127.0.0.1:0",
            registry=registry,
            redis_url=redis_url,
            times=times,
            limits=limits or EdgeLimits(),
            seal_key_file=seal_key_file,
            on_stop=on_stop,
            trusted=trusted,
        )
        process = EdgeApp(settings, await Store.connect(redis_url), UdpListener(settings.sip))
        edge = cls(process, await process.start())
        await edge.until(lambda: edge.app.gateway.current is not None)
        return edge

    async def until(self, holds: Callable[[], bool], within_s: float = 10.0) -> None:
        """Wait until something is true of this edge."""

        async def now() -> bool:
            return holds()

        await eventually(now, within_s)

    async def stop(self) -> None:
        """Stop as SIGTERM does."""
        self.is_gone = True
        await self.process.stop()

    async def kill(self) -> None:
        """Stop as SIGKILL does: nothing is sent, and the lease lapses by itself."""
        await self.close()

    async def close(self) -> None:
        """Close the edge at the end of a test."""
        if not self.is_gone:
            self.is_gone = True
            await self.process.vanish()
