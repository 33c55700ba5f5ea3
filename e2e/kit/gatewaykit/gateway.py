"""A whole gateway of real processes on ports of its own: Redis, registry, relays, edges, the SDK's echo bot.

The parts are started one by one and not by `sipgw up`, so that nothing restarts one that a test kills.
"""

import asyncio
import dataclasses
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import grpc
import yaml

from gatewaykit.phone import Phone
from gatewaykit.service import Service
from sipgw.api.registry.v1 import registry_pb2
from sipgw.config import compile_config, load_documents
from sipgw.control import ControlError, RegistryClient, RegistryUnreachable
from sipgw.runtime.free_ports import free_port, free_range, give_back
from sipgw.runtime.patience import patient
from sipgw.runtime.testing import TestAuthority
from sipgw.runtime.tls import TlsDirectory
from sipgw.store.testing import RedisServer

HOST = "127.0.0.1"
_BIN = Path(sys.executable).parent
_CALLS_PER_RELAY = 200
_CONFIG_TIMEOUT_S = 20.0
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class BotRoute:
    """A route to a bot that a test starts itself on `port`; calls to user `name` take it."""

    name: str
    port: int = 0
    endpoint: str = ""
    spec: dict[str, object] = dataclasses.field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.endpoint or f"{HOST}:{self.port}"

    def document(self) -> dict[str, object]:
        return {
            "apiVersion": "sipgw.io/v1alpha1",
            "kind": "BotRoute",
            "metadata": {"name": self.name},
            "spec": {
                "match": {"to": {"exact": self.name}},
                "bots": [{"endpoint": self.address}],
                **self.spec,
            },
        }


def routes(echo_endpoint: str) -> list[BotRoute]:
    """The routes that the tests call by name."""

    def at_free_port(name: str, **spec: object) -> BotRoute:
        return BotRoute(name, port=free_port(), spec=spec)

    return [
        BotRoute("echo", endpoint=echo_endpoint),
        BotRoute("builtin", endpoint="builtin:echo"),
        at_free_port("old"),
        at_free_port("converse"),
        at_free_port("talk"),
        at_free_port("pause"),
        at_free_port("frozen"),
        at_free_port("burst"),
        at_free_port("deaf"),
        at_free_port("ten", limits={"botSilentAfterMs": 2000}),
        at_free_port("fragile", limits={"botReconnectLimitMs": 8000}),
        at_free_port("missed", limits={"botReconnectLimitMs": 20_000}),
        at_free_port("ringing", limits={"botReadyTimeoutMs": 20_000}),
        at_free_port("absent", limits={"botReadyTimeoutMs": 500}),
        at_free_port(
            "spare", limits={"botReadyTimeoutMs": 500}, fallback={"bots": [{"endpoint": echo_endpoint}]}
        ),
        BotRoute("narrow", endpoint=echo_endpoint, spec={"limits": {"maxCalls": 2}}),
    ]


class Gateway:
    """Running processes by role. `mark` before a test, `tails` when it failed."""

    def __init__(
        self,
        directory: Path,
        *,
        edges: int,
        relays: int,
        calls_per_relay: int = _CALLS_PER_RELAY,
        relay_flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        in_cluster: bool = False,
    ) -> None:
        """`in_cluster` adds the flags that the chart gives: mTLS, health, node names, hand-over of calls."""
        self.directory = directory
        self._in_cluster = in_cluster
        self.authority = TestAuthority()
        self._calls_per_relay = calls_per_relay
        self._relay_flags = relay_flags
        self._ranges: list[int] = []
        self.redis = RedisServer(directory)
        self.bot = Service(
            "bot", [sys.executable, "-m", "sipgw.bot.echo", "--listen", f"{HOST}:0"], directory
        )
        self.registry = Service("registry", [], directory, env=env)
        self.relays = [Service(f"relay-{n}", [], directory, env=env) for n in range(relays)]
        self.edges = [Service(f"edge-{n}", [], directory, env=env) for n in range(edges)]
        self.sip_ports = [free_port() for _ in range(edges)]
        self.routes: dict[str, BotRoute] = {}

    @property
    def services(self) -> list[Service]:
        return [self.bot, self.registry, *self.relays, *self.edges]

    def sip(self, edge: int = 0) -> tuple[str, int]:
        """The SIP address of an edge."""
        return HOST, self.sip_ports[edge]

    @property
    def registry_target(self) -> str:
        return self.registry.ready["listen"]

    def start(self) -> Self:
        """Start all parts, put the config, and wait until a call can come."""
        self.redis.start()
        if self._in_cluster:
            for role in ("registry", "relay", "edge"):
                self.tls_path(role)
        try:
            at_once(self.bot.start, self._start_registry)
            at_once(
                *(partial(self.start_relay, number) for number in range(len(self.relays))),
                *(partial(self.start_edge, number) for number in range(len(self.edges))),
            )
            asyncio.run(self._configure())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> dict[str, int]:
        """Stop all processes, edges first; return their exit statuses by name."""
        statuses: dict[str, int] = {}
        for together in (self.edges, self.relays, [self.bot, self.registry]):
            names = [service.name for service in together]
            statuses.update(zip(names, at_once(*(service.stop for service in together)), strict=True))
        self._clear_up()
        return statuses

    def kill(self) -> None:
        """Kill all processes: a gateway that only one test uses need not end cleanly."""
        for service in self.services:
            service.kill()
        self._clear_up()

    def _clear_up(self) -> None:
        self.redis.stop()
        for first in self._ranges:
            give_back(first, 2 * self._calls_per_relay)
        self._ranges.clear()

    def start_relay(self, number: int) -> None:
        """Start relay `number`, again after a death."""
        relay = self.relays[number]
        if not relay.argv:
            first = free_range(2 * self._calls_per_relay)
            self._ranges.append(first)
            relay.argv = [
                *(str(_BIN / "sipgw-relay"), "--name", relay.name, "--ordinal", str(number)),
                *("--lane", "0", "--listen", f"{HOST}:0", "--bind", "0.0.0.0", "--advertise", HOST),
                *("--rtp-ports", f"{first}-{first + 2 * self._calls_per_relay - 1}"),
                *("--registry", self.registry_target, "--admin", f"{HOST}:0"),
                *self._cluster_flags("relay", "--node", f"node-{number}"),
                *self._relay_flags,
            ]
        relay.start()

    def start_edge(self, number: int) -> None:
        """Start edge `number`, again after a death, on the same SIP port."""
        edge = self.edges[number]
        sip = f"{HOST}:{self.sip_ports[number]}"
        edge.argv = [
            *(str(_BIN / "sipgw-edge"), "--name", edge.name, "--sip", sip, "--advertise", sip),
            *("--listen", f"{HOST}:0", "--registry", self.registry_target, "--redis", self.redis.url),
            *("--admin", f"{HOST}:0", "--trust", HOST),
            *self._cluster_flags("edge", "--node", f"node-{number}", "--on-stop", "hand-over"),
        ]
        edge.start()

    def restart_registry(self) -> None:
        """Start the registry again after a death, at the address that the others know."""
        _keep_listening(self.registry)
        self.registry.start()

    def restart_bot(self) -> None:
        """Start the echo bot again after a death, at the address that its routes name."""
        _keep_listening(self.bot)
        self.bot.start()

    def client(self) -> RegistryClient:
        """A client of the registry; the caller closes it."""
        return RegistryClient(self.registry_target, tls=self.tls("operator"))

    def tls(self, role: str) -> TlsDirectory | None:
        """The certificates of a role; None where the gateway speaks plaintext."""
        return TlsDirectory(self.tls_path(role)) if self._in_cluster else None

    def tls_path(self, role: str) -> Path:
        """The --tls-dir of a role."""
        path = self.directory / "tls" / role
        return path if path.exists() else self.authority.write_leaf(path, role)

    async def calls(self) -> list[registry_pb2.CallSummary]:
        """The live calls as the registry lists them."""
        client = self.client()
        try:
            return await client.list_calls()
        finally:
            await client.aclose()

    def mark(self) -> None:
        """Let `tails` begin here."""
        for service in self.services:
            service.mark()

    def tails(self) -> list[tuple[str, str]]:
        """(service, its last log lines) since `mark`; a dead one says so."""
        found: list[tuple[str, str]] = []
        for service in self.services:
            state = "" if service.is_running else f" (ended with {service.exit_status})"
            found.append((f"{service.name}{state}", service.tail()))
        return found

    def _start_registry(self) -> None:
        self.registry.argv = [
            *(str(_BIN / "sipgw-registry"), "--listen", f"{HOST}:0", "--redis", self.redis.url),
            *("--admin", f"{HOST}:0"),
            *self._cluster_flags("registry"),
        ]
        self.registry.start()

    def _cluster_flags(self, role: str, *more: str) -> list[str]:
        if not self._in_cluster:
            return []
        return ["--tls-dir", str(self.tls_path(role)), "--health", f"{HOST}:0", *more]

    async def _configure(self) -> None:
        chosen = routes(self.bot.ready["listen"])
        self.routes = {route.name: route for route in chosen}
        documents = load_documents(gateway_yaml(chosen))
        client = self.client()
        try:
            await eventually(
                lambda: _succeeds(client.put_config(compile_config(documents), 0)), _CONFIG_TIMEOUT_S
            )
            await eventually(lambda: self._takes_calls(client), _CONFIG_TIMEOUT_S)
        finally:
            await client.aclose()

    async def _takes_calls(self, client: RegistryClient) -> bool:
        relays = await client.list_relays()
        return sum(relay.healthy for relay in relays) == len(self.relays) and await self._edges_have_config()

    async def _edges_have_config(self) -> bool:
        phone = await Phone.open()
        try:
            asked = [await phone.new_call("nobody", self.sip(edge)) for edge in range(len(self.edges))]
            return all([(await call.invite()).status != 503 for call in asked])
        finally:
            await phone.aclose()


def _keep_listening(service: Service) -> None:
    service.argv[service.argv.index("--listen") + 1] = service.ready["listen"]


def at_once(*works: Callable[[], _Result]) -> list[_Result]:
    """Call each in a thread of its own, so that processes start and end in parallel; return the results."""
    with ThreadPoolExecutor(max(1, len(works))) as pool:
        return [started.result() for started in [pool.submit(work) for work in works]]


def gateway_yaml(chosen: Sequence[BotRoute]) -> str:
    """Write the documents as people do."""
    trunk = {"apiVersion": "sipgw.io/v1alpha1", "kind": "SipTrunk", "metadata": {"name": "any"}, "spec": {}}
    return yaml.safe_dump_all([trunk, *(route.document() for route in chosen)])


async def eventually(condition: Callable[[], Awaitable[object]], timeout_s: float) -> None:
    """Ask every 50 ms until `condition` holds; AssertionError after `timeout_s`, or later
    on a busy machine.

    A registry that is reading Redis again says UNAVAILABLE for a moment: that is "not yet".
    """
    deadline = time.monotonic() + patient(timeout_s)
    while not await _holds(condition):
        assert time.monotonic() < deadline, f"not so within {timeout_s:g} s"
        await asyncio.sleep(0.05)


async def _holds(condition: Callable[[], Awaitable[object]]) -> bool:
    try:
        return bool(await condition())
    except RegistryUnreachable:
        return False


async def _succeeds(asking: Awaitable[object]) -> bool:
    try:
        await asking
    except (ControlError, grpc.RpcError):
        return False
    return True
