"""Bots in the cluster: the SDK in the tools image, as a Deployment with a Service."""

import json
from pathlib import Path
from typing import Any

from clusterkit.kubectl import Kubectl, eventually
from clusterkit.release import is_ready

SCRIPT = Path(__file__).parents[2] / "cluster" / "bots" / "bot.py"
PORT = 9090


class Bots:
    """Bots of bots/bot.py, by name. `start("a", HANG_UP_AFTER_S="180")` sets its environment."""

    def __init__(self, kubectl: Kubectl, image: str) -> None:
        self._kubectl = kubectl
        self._image = image
        self.names: list[str] = []

    def start(self, name: str, replicas: int = 1, **environment: str) -> str:
        """Its endpoint, ready."""
        self._kubectl.apply(*_manifests(name, self._image, replicas, environment))
        self.names.append(name)

        def is_up() -> bool:
            pods = self._kubectl.list("pods", f"app=bot-{name}")
            return len(pods) == replicas and all(is_ready(pod) for pod in pods)

        eventually(is_up, 60, f"bot {name} is ready")
        return f"bot-{name}.{self._kubectl.namespace}.svc:{PORT}"

    def said(self, name: str, event: str) -> list[dict[str, Any]]:
        """All it logged of that kind."""
        text = self._kubectl.run("logs", "-l", f"app=bot-{name}", "--tail=5000")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

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
