"""Compares the rendered NetworkPolicies with the ports that pods listen on and the peers they connect to."""

from dataclasses import dataclass
from typing import Any

from clusterkit.node_shell import NodeShell, Socket
from clusterkit.release import Release

_PROBED = {"health"}  # used by the kubelet, which no policy keeps out
Json = dict[str, Any]


@dataclass(frozen=True)
class _Port:
    """A port, or a range of ports, that a rule allows."""

    protocol: str
    first: int
    last: int

    def includes(self, protocol: str, port: int) -> bool:
        return protocol == self.protocol and self.first <= port <= self.last


def compare(release: Release, nodes: NodeShell, component: str) -> str:
    """Fail if a pod of the component does what no rule allows; return in words what the pods do."""
    listened, connected = set[int](), set[int]()
    for pod, sockets in sockets_of(release, nodes, component):
        policies = _policies(release, pod)
        assert any(one["metadata"]["name"].endswith("-deny") for one in policies), "denied by default"
        named = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        listening = {(s.transport, s.local_port) for s in sockets if s.is_listening}
        own = {port for _, port in listening}
        assert own == set(named.values()), "what it declares"
        open_ = listening - {("TCP", named[name]) for name in _PROBED & named.keys()}
        assert _not_allowed(open_, _ports(policies, "ingress", named)) == set()
        reached = {
            (s.transport, s.remote_port) for s in sockets if not s.is_listening and s.local_port not in own
        }
        assert _not_allowed(reached, _ports(policies, "egress", named)) == set()
        listened |= own
        connected |= {port for _, port in reached}
    return f"listen on {sorted(listened)}, connect to {sorted(connected)}"


def sockets_of(release: Release, nodes: NodeShell, component: str) -> list[tuple[Json, list[Socket]]]:
    """Return the sockets of each pod that was ready all the time."""
    looked_at = [
        (pod, nodes.sockets(pod["spec"]["nodeName"], pod["metadata"]["uid"]))
        for pod in release.ready_pods(component)
    ]
    still = {pod["metadata"]["uid"] for pod in release.ready_pods(component)}
    found = [(pod, sockets) for pod, sockets in looked_at if pod["metadata"]["uid"] in still]
    assert found, f"no {component} is ready"
    return found


def _not_allowed(what: set[tuple[str, int]], ports: list[_Port]) -> set[tuple[str, int]]:
    return {one for one in what if not any(port.includes(*one) for port in ports)}


def _policies(release: Release, pod: Json) -> list[Json]:
    """Return the policies that select the pod."""
    labels = pod["metadata"]["labels"]

    def selects(policy: Json) -> bool:
        wanted: dict[str, str] = policy["spec"]["podSelector"].get("matchLabels", {})
        return wanted.items() <= labels.items()

    return [policy for policy in release.kubectl.list("networkpolicies") if selects(policy)]


def _ports(policies: list[Json], direction: str, named: dict[str, int]) -> list[_Port]:
    """Return the ports of every rule; a port name that the pod does not have is left out."""
    rules = [rule for policy in policies for rule in policy["spec"].get(direction, [])]
    found: list[_Port] = []
    for port in [port for rule in rules for port in rule.get("ports", [])]:
        number = named.get(port["port"], port["port"])
        if isinstance(number, int):
            found.append(_Port(port["protocol"], number, port.get("endPort", number)))
    return found
