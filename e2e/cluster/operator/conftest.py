"""A namespace of a real cluster, a registry and Redis beside it, and operators as processes outside of it.

No pod runs: the tests send the registry what relays would.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from clusterkit.cluster import Cluster

from sipgw.control import RegistryClient
from sipgw.operator.errors import KubeError
from sipgw.operator.handlers.login import LogIn
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.resources import paths
from sipgw.store.testing import RedisServer

ROOT = Path(__file__).parents[3]
CRDS = ROOT / "charts" / "sipgw" / "files" / "crds"
RELEASE = "gw"
LANES = 2
WAIT_S = 40.0

Json = dict[str, Any]


@dataclass
class Process:
    """One of our services; `ready` has the addresses that it bound, `events` the log lines so far."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    popen: "subprocess.Popen[str] | None" = None
    events: list[Json] = field(default_factory=list)
    ready: Json = field(default_factory=dict)

    def start(self) -> "Process":
        self.popen = subprocess.Popen(
            self.command, stderr=subprocess.PIPE, text=True, env=os.environ | self.environment
        )
        threading.Thread(target=self._read, daemon=True).start()
        wait_for(lambda: bool(self.ready), f"{self.name} to be ready")
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.popen is not None
        self.popen.send_signal(number)
        return self.popen.wait(20)

    def said(self, event: str) -> list[Json]:
        return [one for one in self.events if one.get("event") == event]

    def _read(self) -> None:
        assert self.popen is not None
        assert self.popen.stderr is not None
        with self.log.open("a") as log, self.popen.stderr as lines:
            for line in lines:
                log.write(line)
                log.flush()
                try:
                    event = json.loads(line)
                except json.JSONDecodeError:
                    event = {"event": line}
                self.events.append(event)
                if event.get("event") == "ready":
                    self.ready = event


def wait_for(claim: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not claim():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {WAIT_S:.0f} s for {what}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def crds(real_cluster: Cluster) -> None:
    """Apply the CRDs as helm does, so that a later `helm install` of another version owns their fields."""
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=helm")
    real_cluster.kubectl().run(*apply, "-f", str(CRDS))


@pytest.fixture
async def kube(kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeClient]:
    monkeypatch.setenv("KUBECONFIG", kubeconfig)  # for this process and the operators it starts
    client = KubeClient(LogIn())
    yield client
    await client.aclose()


@pytest.fixture
async def namespace(kube: KubeClient, crds: None) -> AsyncIterator[str]:
    """A namespace of this test alone, with a service account and the lanes' StatefulSets as in the chart."""
    for file in CRDS.glob("*.yaml"):
        served = f"/apis/sipgw.io/v1alpha1/{file.stem}"
        async with asyncio.timeout(WAIT_S):
            while not await is_served(kube, served):  # noqa: ASYNC110 - polls what has no event
                await asyncio.sleep(0.05)
    name = f"sipgw-operator-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"
    await kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    account = {"metadata": {"name": f"{RELEASE}-operator"}}
    await kube.create(f"/api/v1/namespaces/{name}/serviceaccounts", account)
    for lane in range(LANES):
        await kube.create(paths.stateful_sets(name), lane_manifest(lane))
    yield name
    await kube.delete(f"/api/v1/namespaces/{name}")


async def is_served(kube: KubeClient, path: str) -> bool:
    """Whether the apiserver serves a new kind, which is unknown at first (404) and then starts up (429)."""
    try:
        return await kube.get(path) is not None
    except KubeError:
        return False


def lane_manifest(lane: int) -> Json:
    """Return a lane whose pods can't be scheduled, since the tests play the relays."""
    labels = {
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/component": "relay",
        "sipgw.io/lane": str(lane),
    }
    return {
        "metadata": {"name": f"{RELEASE}-relay-{lane}", "labels": labels},
        "spec": {
            "replicas": 1,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "serviceName": "none",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": {"sipgw.io/nowhere": "true"},
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "relay", "image": "sipgw/none:0"}],
                },
            },
        },
    }


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def redis(tmp_path: Path, stack: ExitStack) -> RedisServer:
    return stack.enter_context(RedisServer(tmp_path))


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


StartRegistry = Callable[..., Process]


@pytest.fixture
def start_registry(redis: RedisServer, stack: ExitStack, tmp_path: Path) -> StartRegistry:
    def start(*flags: str, listen: str = "127.0.0.1:0") -> Process:
        command = [sys.executable, "-m", "sipgw.registry", "--listen", listen, "--redis", redis.url, *flags]
        process = Process("registry", command, tmp_path / "registry.log").start()
        stack.callback(kill, process)
        return process

    return start


@pytest.fixture
def registry_address(start_registry: StartRegistry) -> str:
    return str(start_registry().ready["listen"])


@pytest.fixture
async def registry(registry_address: str) -> AsyncIterator[RegistryClient]:
    client = RegistryClient(registry_address)
    yield client
    await client.aclose()


StartOperator = Callable[..., Process]


@pytest.fixture
def start_operator(namespace: str, stack: ExitStack, tmp_path: Path) -> StartOperator:
    def start(registry: str, *flags: str, identity: str = "operator-0", pki: str = "off") -> Process:
        command = [sys.executable, "-m", "sipgw.operator", "--namespace", namespace, "--release", RELEASE]
        command += ["--registry", registry, "--identity", identity, "--pki", pki, "--admin", "127.0.0.1:0"]
        process = Process(identity, [*command, *flags], tmp_path / f"{identity}.log").start()
        stack.callback(kill, process)
        return process

    return start


def kill(process: Process) -> None:
    if process.popen is not None and process.popen.poll() is None:
        process.popen.kill()
        process.popen.wait()


Eventually = Callable[..., Awaitable[float]]


@pytest.fixture
def eventually() -> Eventually:
    """Wait until an asynchronous claim holds; return the seconds that it took."""

    async def wait(claim: Callable[[], Awaitable[bool]], within_s: float = WAIT_S) -> float:
        begun = time.monotonic()
        async with asyncio.timeout(within_s):
            while not await claim():  # noqa: ASYNC110 - polls what has no event
                await asyncio.sleep(0.02)
        return time.monotonic() - begun

    return wait


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Iterator[Any]:
    report: pytest.TestReport = yield
    directory = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and directory is not None:
        for log in sorted(Path(directory).glob("*.log")):
            report.sections.append((f"end of {log.name}", log.read_text()[-6000:]))
    return report
