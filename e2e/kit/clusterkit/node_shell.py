"""A root's hands on every node, by a privileged pod: kill and stop processes, forget connections.

For tests alone. Works on any cluster that lets its admin run such a pod; the pod is of the tools image.
"""

import json
import time
from typing import Any

from clusterkit.kubectl import Kubectl, eventually
from clusterkit.release import is_ready

NAME = "e2e-node"
_SIGNAL = """
import os, signal, sys
wanted, number = sys.argv[1].encode(), getattr(signal, sys.argv[2])
found = 0
for entry in os.listdir("/proc"):
    if entry.isdigit() and int(entry) != os.getpid():
        try:
            words = open(f"/proc/{entry}/cmdline", "rb").read().split(bytes(1))
        except OSError:
            continue
        if wanted in words:
            os.kill(int(entry), number)
            found += 1
print(found)
"""


class NodeShell:
    """`start` once a session."""

    def __init__(self, kubectl: Kubectl, image: str) -> None:
        self._kubectl = kubectl
        self._image = image

    def start(self) -> None:
        self._kubectl.apply(_daemon_set(self._image))

        def is_up() -> bool:
            status = self._kubectl.get("daemonset", NAME)["status"]
            return 0 < status.get("desiredNumberScheduled", 0) == status.get("numberReady", 0)

        eventually(is_up, 60, "a shell on every node")

    def signal(self, node: str, word: str, signal: str) -> float:
        """Sends `signal` to the processes of that node that have `word` as an argument; when it was sent."""
        said = self._exec(node, "/opt/sipgw/bin/python", "-c", _SIGNAL, word, signal)
        assert int(said) > 0, f"no process with {word} on {node}"
        return time.monotonic()

    def forget_connections(self, node: str, port: int) -> None:
        """Deletes the connection tracking entries of that UDP port; none is fine."""
        script = (
            f"conntrack -D -p udp --orig-port-dst {port}; conntrack -D -p udp --orig-port-src {port}; true"
        )
        self._exec(node, "/usr/sbin/chroot", "/host", "/bin/sh", "-c", script)

    def sockets(self, node: str, protocol: str) -> list[tuple[str, int]]:
        """Addresses and ports that are open on the node's own network, from /proc/net."""
        listening = "0A" if protocol.startswith("tcp") else "07"
        found: list[tuple[str, int]] = []
        for line in self._exec(node, "/opt/sipgw/bin/python", "-c", _READ.format(protocol)).splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == listening:
                found.append(
                    (".".join(str(byte) for byte in reversed(bytes.fromhex(address[:8]))), int(port, 16))
                )
        return found

    def _exec(self, node: str, *command: str) -> str:
        pods = self._kubectl.list("pods", f"app={NAME}")
        pod = next(p for p in pods if p["spec"]["nodeName"] == node and is_ready(p))
        return self._kubectl.run("exec", pod["metadata"]["name"], "--", *command)


_READ = "print(open('/proc/net/{}').read())"


def _daemon_set(image: str) -> dict[str, Any]:
    forever = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"
    container = {
        "name": "shell",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/opt/sipgw/bin/python", "-c", forever],
        "securityContext": {"privileged": True, "runAsUser": 0},
        "volumeMounts": [{"name": "host", "mountPath": "/host"}],
    }
    spec = {
        "hostNetwork": True,
        "hostPID": True,
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
    }
    template = {"metadata": {"labels": {"app": NAME}}, "spec": spec}
    body = {"selector": {"matchLabels": {"app": NAME}}, "template": template}
    return json.loads(
        json.dumps({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": NAME}, "spec": body})
    )
