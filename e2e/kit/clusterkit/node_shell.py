"""Root on every node, through a privileged pod: kill and stop processes, cut networks, forget connections.

For tests alone. Works on any cluster that lets its admin run such a pod; the pod is of the tools image.
"""

import json
from dataclasses import dataclass
from typing import Any

from clusterkit.kubectl import Kubectl, eventually
from clusterkit.release import is_ready

NAME = "e2e-node"
# The image has neither chroot nor a shell.
_ON_THE_NODE = """
import os, sys
os.chroot("/host")
os.chdir("/")
os.execv("/bin/sh", ["sh", "-c", sys.argv[1]])
"""
_SIGNAL = """
import os, signal, sys
import time
wanted, number = {bytes.fromhex(word) for word in sys.argv[3:]}, getattr(signal, sys.argv[1])
found, continued_after_s = [], float(sys.argv[2])
for entry in os.listdir("/proc"):
    if entry.isdigit() and int(entry) != os.getpid():
        try:
            words = open(f"/proc/{entry}/cmdline", "rb").read().split(bytes(1))
        except OSError:
            continue
        if wanted <= {os.path.basename(words[0]), *words}:
            found.append(int(entry))
print(len(found), flush=True)
if continued_after_s:
    if os.fork():
        os._exit(0)
    os.setsid()
    for fd in (0, 1, 2):
        os.close(fd)
    time.sleep(5)  # the answer has to get out first: it goes by way of the kubelet
for process in found:
    os.kill(process, number)
if continued_after_s:
    time.sleep(continued_after_s)
    for process in found:
        os.kill(process, signal.SIGCONT)
"""


_FORGET = """
set -e
PATH=$PATH:/usr/sbin:/sbin  # ours is the image's
command -v conntrack >/dev/null || {{ echo "no conntrack here" >&2; exit 1; }}
for way in src dst; do conntrack -D -p udp --orig-port-$way {port} || true; done  # 1: there was none
echo left
for way in src dst; do conntrack -L -p udp --orig-port-$way {port}; done
"""
_CUT = """
set -e
PATH=$PATH:/usr/sbin:/sbin
card=$(ip -o route get {toward} | sed 's/.* dev \\([^ ]*\\).*/\\1/')
mend() {{
  iptables -w -t mangle -D PREROUTING -i $card -j DROP
  iptables -w -t mangle -D POSTROUTING -o $card -j DROP
}}
(
  sleep 1  # the answer has to get out first
  trap mend EXIT  # also when it is ended before its time
  trap 'exit 1' TERM
  trap '' HUP
  iptables -w -t mangle -I PREROUTING -i $card -j DROP
  iptables -w -t mangle -I POSTROUTING -o $card -j DROP
  sleep {seconds} &
  wait
) >/dev/null 2>&1 </dev/null &
echo $card
"""
_SOCKETS = """
import json, os, re, sys
uid = sys.argv[1]
loopback = re.compile("(0{16}FFFF0000)?[0-9A-F]{6}7F|0{24}01000000")  # as the kernel writes addresses
found = []
for entry in filter(str.isdigit, os.listdir("/proc")):
    try:
        text = open(f"/proc/{entry}/cgroup").read()
        if uid not in text and uid.replace("-", "_") not in text:
            continue
        inodes = set()
        for fd in os.listdir(f"/proc/{entry}/fd"):
            try:
                inodes.add(os.readlink(f"/proc/{entry}/fd/{fd}"))
            except OSError:
                pass
        for protocol in ("tcp", "tcp6", "udp", "udp6"):
            for line in open(f"/proc/{entry}/net/{protocol}").read().splitlines()[1:]:
                words = line.split()
                if f"socket:[{words[9]}]" in inodes and not loopback.fullmatch(words[2].partition(":")[0]):
                    local, remote = (int(words[i].rpartition(":")[2], 16) for i in (1, 2))
                    found.append((protocol, local, remote))
    except OSError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Socket:
    """A socket of a pod; without a peer (`remote_port` 0) it listens or is bound."""

    protocol: str
    local_port: int
    remote_port: int

    @property
    def is_listening(self) -> bool:
        return self.remote_port == 0

    @property
    def transport(self) -> str:
        """The transport as NetworkPolicies name it."""
        return self.protocol.removesuffix("6").upper()


class NodeShell:
    """Call `start` once in a session."""

    def __init__(self, kubectl: Kubectl, image: str) -> None:
        self._kubectl = kubectl
        self._image = image

    def start(self) -> None:
        self._kubectl.apply(_daemon_set(self._image))

        def is_up() -> bool:
            status = self._kubectl.get("daemonset", NAME)["status"]
            return 0 < status.get("desiredNumberScheduled", 0) == status.get("numberReady", 0)

        eventually(is_up, 60, "a shell on every node")

    def signal(self, node: str, word: str, signal: str) -> None:
        """Send `signal` to the processes of that node that have `word` as an argument."""
        assert self._signal(node, signal, word) > 0, f"no process with {word} on {node}"

    def pause_kubelet(self, node: str, seconds: float) -> None:
        """Stop the kubelet. A timer continues it, since no command reaches the node meanwhile.

        Where nodes share a machine, their kubelets differ by their name.
        """
        if not self._signal(node, "SIGSTOP", "kubelet", f"--hostname-override={node}", after_s=seconds):
            assert self._signal(node, "SIGSTOP", "kubelet", after_s=seconds), f"no kubelet on {node}"

    def _signal(self, node: str, signal: str, *words: str, after_s: float = 0) -> int:
        """Pass the words in hex, so that the command which contains them does not match itself."""
        told = [word.encode().hex() for word in words]
        return int(self._exec(node, "/opt/sipgw/bin/python", "-c", _SIGNAL, signal, str(after_s), *told))

    def cut_network(self, node: str, toward: str, seconds: float) -> None:
        """Drop every packet to and from the node, from a second from now on, and undo it by a timer.

        `toward` is an address beyond the node, which determines its network card. Peers get no refusal and
        hear nothing, as when the machine is gone.
        """
        script = _CUT.format(toward=toward, seconds=seconds)
        said = self._exec(node, "/opt/sipgw/bin/python", "-c", _ON_THE_NODE, script)
        assert said.strip(), f"{node} has no network card toward {toward}"

    def forget_connections(self, node: str, port: int) -> int:
        """Delete the connection tracking entries of that UDP port; return their number."""
        said = self._exec(node, "/opt/sipgw/bin/python", "-c", _ON_THE_NODE, _FORGET.format(port=port))
        deleted, _, left = said.partition("left\n")
        assert not left, f"on {node} conntrack did not forget:\n{left}"
        return len(deleted.splitlines())

    def sockets(self, node: str, pod_uid: str) -> list[Socket]:
        """List the sockets of a pod's processes: TCP listening and connected, UDP bound; no loopback."""
        said = self._exec(node, "/opt/sipgw/bin/python", "-c", _SOCKETS, pod_uid)
        return [Socket(*fields) for fields in json.loads(said)]

    def _exec(self, node: str, *command: str) -> str:
        eventually(lambda: self._pods_on(node), 60, f"a shell on {node}")
        return self._kubectl.run("exec", self._pods_on(node)[0], "--", *command)

    def _pods_on(self, node: str) -> list[str]:
        pods = self._kubectl.list("pods", f"app={NAME}")
        return [p["metadata"]["name"] for p in pods if p["spec"].get("nodeName") == node and is_ready(p)]


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
