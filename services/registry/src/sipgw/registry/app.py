"""The parts of the registry, put together."""

import asyncio
import contextlib
import platform
from dataclasses import dataclass
from typing import Final

from sipgw.api.registry.v1 import registry_pb2_grpc as services
from sipgw.calls import CallStore, EdgeLeases, EndedOutbox
from sipgw.registry import metrics
from sipgw.registry.call_record import Numbers
from sipgw.registry.call_registry import DATA_LOSS_GRACE_S, CallRegistry
from sipgw.registry.call_service import CALL_SERVICE, CallService
from sipgw.registry.config_service import CONFIG_SERVICE, ConfigService
from sipgw.registry.config_store import ConfigStore
from sipgw.registry.edge_bans import EdgeBans
from sipgw.registry.edge_channels import EdgeChannels
from sipgw.registry.edge_hangups import EdgeHangups
from sipgw.registry.lost_calls import LostCalls
from sipgw.registry.materializer import Materializer
from sipgw.registry.outbox import Outbox
from sipgw.registry.placement import Placements, lost_relays, units_taken
from sipgw.registry.placement_service import PLACEMENT_SERVICE, PlacementService
from sipgw.registry.relay_service import RELAY_SERVICE, RelayService
from sipgw.runtime.grpc_server import GrpcServer
from sipgw.runtime.health import Probes
from sipgw.runtime.settings import HostPort, new_identity
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.tls import TlsDirectory
from sipgw.runtime.vitals import Vitals
from sipgw.store import Store, StoreUnavailable

_MAX_CONNECTION_AGE_S: Final = 300.0
_OBSERVE_PERIOD_S: Final = 1.0
_STOP_GRACE_S: Final = 1.0
_LAST_RECORDS_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """The settings given by the flags."""

    listen: HostPort
    admin: HostPort | None = None
    health: HostPort | None = None
    tls: TlsDirectory | None = None
    numbers: Numbers = Numbers.FULL
    """How much of phone numbers call records show."""
    data_loss_grace_s: float = DATA_LOSS_GRACE_S


class RegistryApp:
    """One replica.

    After `start` it serves placement and config at once, and calls when they have been read.
    """

    def __init__(self, settings: RegistrySettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._tasks = TaskGroupOwner("registry")
        self.calls = CallRegistry(data_loss_grace_s=settings.data_loss_grace_s)
        self._placements = Placements(store)
        self._configs = ConfigStore(store)
        call_store, leases = CallStore(store), EdgeLeases(store)
        self._edges = EdgeChannels(leases, tls=settings.tls)
        self._hangups = EdgeHangups(call_store, self._edges)
        consumer = EndedOutbox(store, str(new_identity(platform.node())))
        self._outbox = Outbox(consumer, numbers=settings.numbers)
        self._materializer = Materializer(store, self.calls, on_ended=self._outbox.wake)
        self._lost_calls = LostCalls(call_store, EdgeLeases(store), self.calls)
        self._probes = Probes(Vitals(is_ready=self._is_ready), admin=settings.admin, health=settings.health)
        self._server = GrpcServer(
            str(settings.listen), tls=settings.tls, max_connection_age_s=_MAX_CONNECTION_AGE_S
        )
        self._add_services()

    async def start(self) -> dict[str, str]:
        """Bind, begin to follow Redis, and return the addresses really bound. Raises StartupError."""
        port = await self._server.start()
        bound = {"listen": str(HostPort(self._settings.listen.host, port)), **await self._probes.start()}
        self._tasks.spawn(self._materializer.run(), "materializer")
        self._tasks.spawn(self._configs.run(), "configs")
        self._tasks.spawn(self._lost_calls.run(), "lost calls")
        self._tasks.spawn(self._outbox.run(), "outbox")
        self._tasks.spawn(self._observe(), "observe")
        return bound

    async def stop(self) -> None:
        """End streams, then tasks and connections."""
        await self._server.stop(_STOP_GRACE_S)
        await self._outbox.finish(_LAST_RECORDS_S)
        await self._tasks.aclose()
        await self._edges.aclose()
        await self._probes.aclose()
        await self._store.aclose()

    async def materialised(self, timeout_s: float) -> bool:
        """Wait until the calls have been read; return False when that takes longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.calls.is_materialised:  # noqa: ASYNC110 - once, at the start
                    await asyncio.sleep(0.01)
        return self.calls.is_materialised

    def _add_services(self) -> None:
        self._server.add(
            CallService(self._store, self.calls, self._hangups, EdgeBans(self._edges)),
            services.add_CallRegistryServiceServicer_to_server,
            CALL_SERVICE,
        )
        self._server.add(
            PlacementService(self._placements),
            services.add_PlacementServiceServicer_to_server,
            PLACEMENT_SERVICE,
        )
        self._server.add(
            RelayService(self._placements),
            services.add_RelayRegistrationServiceServicer_to_server,
            RELAY_SERVICE,
        )
        self._server.add(
            ConfigService(self._configs), services.add_ConfigServiceServicer_to_server, CONFIG_SERVICE
        )

    async def _observe(self) -> None:
        """Set the gauges."""
        while True:
            metrics.CALLS.set(self.calls.count().live)
            metrics.REDIS_AWAY.set(not self._store.is_reachable)
            metrics.REDIS_ROUND_TRIP.set(self._store.round_trip_s)
            with contextlib.suppress(StoreUnavailable):
                await self._observe_relays()
            await asyncio.sleep(_OBSERVE_PERIOD_S)

    def _is_ready(self) -> bool:
        """Return whether it has read the calls and reaches Redis; otherwise another replica may do better."""
        return self.calls.is_materialised and self._store.is_reachable

    async def _observe_relays(self) -> None:
        relays = await self._placements.relays()
        healthy = [relay for relay in relays if relay.healthy]
        staying = [relay for relay in healthy if not relay.draining]
        taking = [relay for relay in staying if not relay.full and not relay.late]
        full = sum(relay.full for relay in staying)
        metrics.RELAYS.labels("taking").set(len(taking))
        metrics.RELAYS.labels("full").set(full)
        metrics.RELAYS.labels("late").set(len(staying) - full - len(taking))
        metrics.RELAYS.labels("draining").set(len(healthy) - len(staying))
        metrics.RELAYS.labels("gone").set(len(lost_relays(relays)))
        metrics.RELAY_PORTS_FREE.set(sum(relay.ports_free for relay in taking))
        metrics.RELAY_UNITS.labels("capacity").set(sum(map(units_taken, healthy)))
        metrics.RELAY_UNITS.labels("used").set(sum(relay.used_units for relay in healthy))
