"""A small apiserver in memory, a registry that answers from fields, and a clock that the test moves."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.control import ConfigConflict, RegistryUnreachable
from sipgw.operator.errors import KubeAway, KubeConflict, KubeError, KubeForbidden
from sipgw.operator.resources.stateful_sets import lane_name

Json = dict[str, Any]


def relay_name(release: str, number: int, lanes: int) -> str:
    """Name a relay as its StatefulSet names the pod."""
    return f"{lane_name(release, number % lanes)}-{number // lanes}"


class ManualClock:
    """Both of Clock's times, moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.now.timestamp()

    def unix_ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class FakeKube:
    """The part of an apiserver that KubeClient uses: versions, conflicts, status and scale as subresources.

    `away` makes every request fail; `budget_is_spent` makes it refuse evictions; `refuses_events` and
    `refuses_statuses` take these rights away.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.requests: list[tuple[str, str]] = []
        self.away = False
        self.budget_is_spent = False
        self.refuses_events = False
        self.refuses_statuses = False
        self._version = 0

    async def get(self, path: str) -> Json | None:
        self._asked("GET", path)
        return copy.deepcopy(self.objects.get(path))

    async def list(self, path: str, *, labels: str = "", read: Callable[[Json], Any] = dict) -> list[Any]:
        self._asked("LIST", path)
        depth = path.count("/") + 1
        return [
            read(copy.deepcopy(body))
            for where, body in sorted(self.objects.items())
            if where.startswith(f"{path}/") and where.count("/") == depth
        ]

    async def create(self, path: str, body: Json) -> Json:
        self._asked("POST", path)
        if path.endswith("/eviction"):
            if self.budget_is_spent:
                raise KubeError(429, "it would violate the pod's disruption budget")
            if self.objects.pop(path.removesuffix("/eviction"), None) is None:
                raise KubeError(404, "no such pod")
            return {}
        if self.refuses_events and path.endswith("/events"):
            raise KubeForbidden(403, "events are refused")
        metadata = body["metadata"]
        name = metadata.get("name") or f"{metadata['generateName']}{self._version}"
        body = {**body, "metadata": {**metadata, "name": name}}
        where = f"{path}/{name}"
        if where in self.objects:
            raise KubeConflict(409, f"{where} exists")
        return self._write(where, copy.deepcopy(body), generation=1)

    async def replace(self, path: str, body: Json) -> Json:
        self._asked("PUT", path)
        held = self.objects[path]
        if body["metadata"].get("resourceVersion") != held["metadata"]["resourceVersion"]:
            raise KubeConflict(409, "another version")
        return self._write(path, copy.deepcopy(body), generation=1)

    async def merge(self, path: str, body: Json) -> Json:
        self._asked("PATCH", path)
        if self.refuses_statuses and path.endswith("/status"):
            raise KubeForbidden(403, "statuses are refused")
        where = path.removesuffix("/status").removesuffix("/scale")
        if where not in self.objects:
            raise KubeError(404, where)
        held = copy.deepcopy(self.objects[where])
        patch = {"status": body["status"]} if path.endswith("/status") else body
        merged = _merged(held, {"spec": body["spec"]} if path.endswith("/scale") else patch)
        return self._write(where, merged, generation=held["metadata"]["generation"])

    async def delete(self, path: str) -> None:
        self._asked("DELETE", path)
        self.objects.pop(path, None)

    async def aclose(self) -> None:
        pass

    def written(self, part: str = "") -> "list[str]":
        """Return the paths of the writes since the last call that contain `part`, without events."""
        found = [
            path
            for method, path in self.requests
            if method in {"POST", "PUT", "PATCH"} and part in path and "/events" not in path
        ]
        self.requests.clear()
        return found

    def events(self, reason: str) -> "list[Json]":
        """Return the events with that reason."""
        events = (body for where, body in self.objects.items() if "/events/" in where)
        return [body for body in events if body["reason"] == reason]

    def requests_for(self, part: str) -> int:
        """Return the number of requests since `written` whose path contains `part`."""
        return sum(part in path for _, path in self.requests)

    def told(self) -> set[str]:
        """Return the reasons of all events."""
        return {body["reason"] for where, body in self.objects.items() if "/events/" in where}

    def _asked(self, method: str, path: str) -> None:
        if self.away:
            raise KubeAway("no answer")
        self.requests.append((method, path))

    def _write(self, where: str, body: Json, *, generation: int) -> Json:
        self._version += 1
        body.setdefault("metadata", {}).update(
            resourceVersion=str(self._version), generation=generation, uid=f"uid-{where}"
        )
        self.objects[where] = body
        return copy.deepcopy(body)


def _merged(held: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(held, dict):
        return copy.deepcopy(patch)
    result = dict(held)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


@dataclass
class FakeRegistry:
    """The part of RegistryClient that the operator uses."""

    config: GatewayConfig | None = None
    relays: list[pb.Relay] = field(default_factory=list)
    counts: pb.CountCallsResponse = field(default_factory=pb.CountCallsResponse)
    edges: int = 1
    away: bool = False
    drains: list[tuple[str, bool]] = field(default_factory=list)
    puts: int = 0

    async def get_config(self) -> GatewayConfig | None:
        self._answer()
        return self.config

    async def put_config(self, config: GatewayConfig, expected_version: int) -> tuple[str, int]:
        self._answer()
        if expected_version != (self.config.version if self.config else 0):
            import grpc

            raise ConfigConflict(grpc.StatusCode.FAILED_PRECONDITION, "another version")
        made = GatewayConfig()
        made.CopyFrom(config)
        made.epoch, made.version = "e", expected_version + 1
        self.config = made
        self.puts += 1
        return made.epoch, made.version

    async def list_relays(self) -> list[pb.Relay]:
        self._answer()
        return self.relays

    async def count_calls(self) -> pb.CountCallsResponse:
        self._answer()
        return self.counts

    async def list_edges(self) -> list[pb.Edge]:
        self._answer()
        return [pb.Edge()] * self.edges

    async def drain_relay(self, name: str, *, drain: bool = True) -> None:
        self._answer()
        self.drains.append((name, drain))
        for relay in self.relays:
            if relay.registration.relay.name == name:
                relay.draining = relay.drain_requested = drain

    def _answer(self) -> None:
        if self.away:
            raise RegistryUnreachable("registry: no answer")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()
