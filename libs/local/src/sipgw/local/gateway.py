"""A whole gateway on this machine: Redis, registry, relays, edges and a bot, configured and ready."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sipgw.config import SealKey, compile_config
from sipgw.control import ConfigConflict, RegistryClient, RegistryUnreachable
from sipgw.local import plan
from sipgw.local.errors import ServiceFailed
from sipgw.local.events import ServiceRestarted, SupervisorEvent
from sipgw.local.ports import require_free_udp_port
from sipgw.local.readiness import is_admin_ready, require_redis
from sipgw.local.redis_server import find_redis_server
from sipgw.local.service import Stage
from sipgw.local.settings import GatewaySettings
from sipgw.local.supervisor import Supervisor
from sipgw.runtime.patience import patient

_READY_TIMEOUT_S = 30.0
_POLL_S = 0.05

T = TypeVar("T")


class LocalGateway:
    """A gateway: `async with LocalGateway(...)` takes calls inside the block and leaves nothing behind."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        log_directory: Path,
        on_event: Callable[[SupervisorEvent], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.log_directory = log_directory
        self.registry_address = ""
        self.bot_address = settings.bot or ""
        self.sip_addresses: list[str] = []
        self._on_event = on_event
        self._supervisor = Supervisor(log_directory, self._told)
        self._registry: RegistryClient | None = None
        self._repairs: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "LocalGateway":
        for port in self.settings.sip_ports:
            if port:
                require_free_udp_port(self.settings.sip_host, port, advice="choose another with --sip-port")
        await self._supervisor.__aenter__()
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for repair in self._repairs:
            repair.cancel()
        try:
            await self._supervisor.__aexit__()
        finally:
            if self._registry is not None:
                await self._registry.aclose()

    async def kill(self) -> None:
        """End all processes at once, without a BYE to anybody."""
        await self._supervisor.kill()

    @property
    def registry(self) -> RegistryClient:
        assert self._registry is not None
        return self._registry

    async def _start(self) -> None:
        settings = self.settings
        if settings.recordings is not None:
            settings.recordings.mkdir(parents=True, exist_ok=True)
        if settings.redis_url is not None:
            await require_redis(settings.redis_url)
        redis_url = settings.redis_url or await self._start_redis()
        first = [plan.registry_service(redis_url)]
        if settings.starts_echo_bot:
            first.append(plan.echo_bot_service())
        await self._supervisor.start(*first)
        self.registry_address = self._supervisor.service("registry").binds["listen"]
        if settings.starts_echo_bot:
            self.bot_address = self._supervisor.service("bot").binds["listen"]
        self._registry = RegistryClient(self.registry_address)
        await asyncio.gather(
            self._put_config(),
            self._supervisor.start(
                *plan.relay_services(settings, self.registry_address),
                *plan.edge_services(settings, self.registry_address, redis_url, self._seal_key_file()),
            ),
        )
        edges = [s for s in self._supervisor.services if s.spec.stage is Stage.EDGE]
        self.sip_addresses = [
            f"{settings.advertise}:{edge.binds['sip'].rpartition(':')[2]}" for edge in edges
        ]
        await self._wait_until_ready()

    async def _start_redis(self) -> str:
        path = self._supervisor.scratch / "redis.sock"
        await self._supervisor.start(plan.redis_service(find_redis_server(), path))
        return f"unix://{path}"

    def _seal_key_file(self) -> Path:
        """Write a random key for this run, which seals the passwords of trunks in the config."""
        path = self._supervisor.scratch / "seal.key"
        if not path.exists():
            path.touch(0o600)
            path.write_text(secrets.token_hex(32), "ascii")
        return path

    async def _put_config(self) -> None:
        documents = self.settings.documents_for(self.bot_address)
        config = compile_config(documents, seal_key=SealKey.from_file(self._seal_key_file()))
        config.gateway.recording_directory = str(self.settings.recordings or "")

        async def put() -> bool:
            present = await self.registry.get_config()
            try:
                await self.registry.put_config(config, present.version if present is not None else 0)
            except ConfigConflict:
                return False
            return True

        await self._until(put, "registry", "takes no configuration")

    async def _wait_until_ready(self) -> None:
        """Wait until calls can come: the registry knows every relay and every service is ready."""
        wanted = {f"relay-{lane}" for lane in range(len(self.settings.rtp_ports))}

        async def has_relays() -> bool:
            relays = await self.registry.list_relays()
            return wanted <= {relay.registration.relay.name for relay in relays if relay.healthy}

        await self._until(has_relays, "registry", "does not see all relays")
        for service in self._supervisor.services:
            if "admin" in service.binds:
                await self._until(
                    lambda address=service.binds["admin"]: is_admin_ready(address),
                    service.name,
                    "runs but is not ready to serve",
                )

    async def _until(self, condition: Callable[[], Awaitable[bool]], name: str, otherwise: str) -> None:
        deadline = time.monotonic() + patient(_READY_TIMEOUT_S)
        while True:
            try:
                if await condition():
                    return
            except RegistryUnreachable as error:
                otherwise = f"{otherwise} ({error})" if "(" not in otherwise else otherwise
            if time.monotonic() > deadline:
                log = self._supervisor.service(name).log
                raise ServiceFailed(name, f"{otherwise}; {log.last_words()} (log: {log.path})")
            await asyncio.sleep(_POLL_S)

    def _told(self, event: SupervisorEvent) -> None:
        if isinstance(event, ServiceRestarted) and event.name in {"redis", "registry"}:
            repair = asyncio.create_task(self._repair_config(), name="put the config again")
            self._repairs.add(repair)
            repair.add_done_callback(self._repairs.discard)
        self._on_event(event)

    async def _repair_config(self) -> None:
        """Put the config again after a loss of Redis, since the registry may have no other source for it."""
        with_config = False
        deadline = time.monotonic() + patient(_READY_TIMEOUT_S)
        while not with_config and time.monotonic() < deadline:
            try:
                with_config = await self.registry.get_config() is not None
                if not with_config:
                    await self._put_config()
            except (RegistryUnreachable, ServiceFailed):
                await asyncio.sleep(_POLL_S)
