"""The chart on a cluster, installed, upgraded and inspected by helm and kubectl, as users do."""

import asyncio
import base64
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from clusterkit.kubectl import Kubectl, eventually
from sipgw.api.registry.v1.registry_pb2 import CallSummary
from sipgw.control import RegistryClient, RegistryUnreachable
from sipgw.runtime.tls import TlsDirectory

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "sipgw"
HELM = ROOT / "charts" / "helm.sh"
_HELM_TIMEOUT_S = 300
_READY_S = 150
SIP_PORT = 5060
Address = tuple[str, int]


@dataclass
class Release:
    """One release, of `chart`, in a namespace of its own. Its name is `name` everywhere."""

    kubectl: Kubectl
    scratch: Path
    name: str = "sipgw"
    values: dict[str, Any] = field(default_factory=dict)

    # ---- helm

    def helm(self, *arguments: str, text: str | None = None) -> str:
        command = [str(HELM), *arguments, "--kubeconfig", self.kubectl.kubeconfig]
        command += ["--namespace", self.kubectl.namespace]
        done = subprocess.run(
            command, check=False, input=text, capture_output=True, text=True, timeout=_HELM_TIMEOUT_S
        )
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}\n{done.stdout}"
        return done.stdout

    def install(self, chart: Path = CHART, *options: str) -> str:
        """Install the chart; return the notes that helm printed."""
        return self._deploy("install", chart, "--create-namespace", "--take-ownership", *options)

    def upgrade(self, chart: Path = CHART, *options: str) -> str:
        return self._deploy("upgrade", chart, *options)

    def upgrade_to_others(self, component: str, chart: Path = CHART, *options: str) -> float:
        """Upgrade until all pods of the component are replaced and ready; return the seconds it took."""
        before = {pod["metadata"]["uid"] for pod in self.pods(component)}
        self.upgrade(chart, *options)
        took_s = self.wait_others(component, before)
        self.wait_ready()
        return took_s

    def wait_others(self, component: str, before: set[str]) -> float:
        """Wait until none of the component's pods is among `before`, by uid."""

        def are_others() -> bool:
            return not before & {pod["metadata"]["uid"] for pod in self.pods(component)}

        return eventually(are_others, _READY_S, f"every pod of {component} is another")

    def _deploy(self, verb: str, chart: Path, *options: str) -> str:
        return self.helm(
            verb, self.name, str(chart), "--values", "-", *options, text=yaml.safe_dump(self.values)
        )

    def uninstall(self) -> None:
        self.helm("uninstall", self.name, "--wait")

    # ---- pods

    def selector(self, component: str = "") -> str:
        text = f"app.kubernetes.io/instance={self.name}"
        return f"{text},app.kubernetes.io/component={component}" if component else text

    def pods(self, component: str = "") -> list[dict[str, Any]]:
        """Return the pods that are not terminating."""
        return [
            pod
            for pod in self.kubectl.list("pods", self.selector(component))
            if "deletionTimestamp" not in pod["metadata"]
            and pod["metadata"]["labels"].get("app.kubernetes.io/component") != "test"
        ]

    def ready_pods(self, component: str) -> list[dict[str, Any]]:
        return [pod for pod in self.pods(component) if is_ready(pod)]

    def wait_ready(self, timeout_s: float = _READY_S) -> float:
        """Wait until every part has all its pods, none of an old template, and they are ready."""

        def settled() -> bool:
            parts = self.kubectl.list("daemonsets,deployments,statefulsets", self.selector())
            pods_ready = len(self.ready_pods("relay")) >= 2 and all(map(is_ready, self.pods()))
            return pods_ready and all(map(_is_rolled_out, parts))

        try:
            return eventually(settled, timeout_s, "every pod of the release is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None

    def describe(self) -> str:
        """Describe a failure: the pods, the last events, the last log lines of pods that are not ready."""
        words = [self.kubectl.ask("get", "pods,statefulsets", "-o", "wide").out]
        words.append(self.kubectl.ask("get", "sipgateways,siptrunks,botroutes", "-o", "wide").out)
        words.append(
            "\n".join(self.kubectl.ask("get", "events", "--sort-by=.lastTimestamp").out.splitlines()[-15:])
        )
        for pod in self.pods():
            if not is_ready(pod):
                name = pod["metadata"]["name"]
                words.append(f"--- {name}\n{self.kubectl.ask('logs', '--tail=15', name).out}")
        return "\n".join(words)

    def edges(self) -> list[Address]:
        """Return the SIP addresses of the ready edges."""
        return [(pod["status"]["hostIP"], SIP_PORT) for pod in self.ready_pods("edge")]

    def relays(self) -> list[str]:
        """Return the names of the ready relays."""
        return sorted(pod["metadata"]["name"] for pod in self.ready_pods("relay"))

    def replicas(self) -> dict[str, int]:
        """Return the replicas wanted of each lane, by StatefulSet."""
        lanes = self.kubectl.list("statefulsets", self.selector("relay"))
        return {lane["metadata"]["name"]: lane["spec"]["replicas"] for lane in lanes}

    def logs(self, component: str, *options: str) -> str:
        options = options or ("--tail=2000",)
        return self.kubectl.run("logs", "-l", self.selector(component), "--prefix", *options)

    # ---- the registry, asked from outside with the operator's certificate

    def calls(self) -> list[CallSummary]:
        """List the live calls from a registry, and try again for a while: registries may just have died."""
        answers: list[list[CallSummary]] = []

        def is_answered() -> bool:
            for pod in self.ready_pods("registry")[:1]:
                with suppress(RegistryUnreachable):
                    answers.append(asyncio.run(self._list_calls(pod["status"]["podIP"])))
            return bool(answers)

        eventually(is_answered, 30, "a registry answers")
        return answers[0]

    def calls_of(self, sip_ids: Sequence[str]) -> list[CallSummary]:
        """Return the calls with these Call-IDs, once all of them are known."""
        known: dict[str, CallSummary] = {}

        def are_known() -> bool:
            known.update({call.sip_call_id: call for call in self.calls()})
            return known.keys() >= set(sip_ids)

        eventually(are_known, 10, "the registry knows these calls")
        return [known[sip_id] for sip_id in sip_ids]

    async def _list_calls(self, address: str) -> list[CallSummary]:
        registry = RegistryClient(f"{address}:7070", tls=self._certificates())
        try:
            return await registry.list_calls()
        finally:
            await registry.aclose()

    def calls_by_relay(self) -> Counter[str]:
        return Counter(call.relay.name for call in self.calls())

    def tls_secret(self, role: str) -> str:
        """Return the name of the Secret with that role's certificate."""
        return f"{self.name}-tls-{role}"

    def _certificates(self) -> TlsDirectory | None:
        answer = self.kubectl.ask("get", "secret", self.tls_secret("operator"), "-o", "yaml")
        if answer.status != 0:
            return None
        folder = self.scratch / "tls"
        folder.mkdir(exist_ok=True)
        for name, value in yaml.safe_load(answer.out)["data"].items():
            (folder / name).write_bytes(base64.b64decode(value))
        return TlsDirectory(folder)


def is_ready(pod: dict[str, Any]) -> bool:
    conditions: list[dict[str, str]] = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _is_rolled_out(part: dict[str, Any]) -> bool:
    status = part["status"]
    if part["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        names = ("currentNumberScheduled", "updatedNumberScheduled", "numberReady")
    else:
        wanted = part["spec"]["replicas"]
        names = ("replicas", "updatedReplicas", "readyReplicas")
    counts = {status.get(name, 0) for name in names}
    is_seen = status.get("observedGeneration") == part["metadata"]["generation"]
    return is_seen and counts == {wanted}
