"""Bots in the cluster: the SDK in the tools image, as a Deployment with a Service."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterkit.kubectl import Kubectl, eventually
from clusterkit.release import is_ready

SCRIPT = Path(__file__).parents[2] / "cluster" / "bots" / "bot.py"
PORT = 9090


@dataclass(frozen=True)
class Conversation:
    """A call as a bot saw it: how often it began, resumed on another stream and ended; its resume tokens."""

    started: int
    resumed: int
    ended: int
    tokens: int

    @classmethod
    def of(cls, said: list[dict[str, Any]]) -> "Conversation":
        events = Counter(line["event"] for line in said)
        tokens = {line["token"] for line in said if "token" in line}
        return cls(events["call_started"], events["call_resumed"], events["call_ended"], len(tokens))


class Bots:
    """Bots of bots/bot.py, by name. `start("a", HANG_UP_AFTER_S="180")` sets its environment."""

    def __init__(self, kubectl: Kubectl, image: str) -> None:
        self._kubectl = kubectl
        self._image = image
        self.names: list[str] = []

    def start(self, name: str, replicas: int = 1, **environment: str) -> str:
        """Start a bot and wait until it is ready; return its endpoint."""
        self._kubectl.apply(*_manifests(name, self._image, replicas, environment))
        self.names.append(name)

        def is_up() -> bool:
            pods = self._kubectl.list("pods", f"app=bot-{name}")
            return len(pods) == replicas and all(is_ready(pod) for pod in pods)

        eventually(is_up, 60, f"bot {name} is ready")
        return f"bot-{name}.{self._kubectl.namespace}.svc:{PORT}"

    def said(self, name: str, event: str) -> list[dict[str, Any]]:
        """Return all its log lines of that kind."""
        return [line for line in self._log(name) if line.get("event") == event]

    def conversations(self, name: str) -> dict[str, Conversation]:
        """Return what it logged of each call, by the gateway's call id."""
        lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in self._log(name):
            lines[line["call_id"]].append(line)
        return {call_id: Conversation.of(said) for call_id, said in lines.items()}

    def _log(self, name: str) -> list[dict[str, Any]]:
        text = self._kubectl.run("logs", "-l", f"app=bot-{name}", "--tail=-1")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if "call_id" in line]

    def stop_all(self) -> None:
        for name in self.names:
            self._kubectl.run("delete", "deployment,service,configmap", f"bot-{name}", "--wait=false")
        self.names.clear()


def _manifests(name: str, image: str, replicas: int, environment: dict[str, str]) -> list[dict[str, Any]]:
    labels = {"app": f"bot-{name}"}
    metadata = {"name": f"bot-{name}", "labels": labels}
    container = {
        "name": "bot",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/opt/sipgw/bin/python", "/bot/bot.py"],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "ports": [{"name": "grpc", "containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "500m"}},  # so that a busy machine leaves it enough
        "volumeMounts": [{"name": "script", "mountPath": "/bot"}],
    }
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 2,
        "volumes": [{"name": "script", "configMap": {"name": f"bot-{name}"}}],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"bot.py": SCRIPT.read_text()},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": PORT, "targetPort": "grpc"}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
    ]
