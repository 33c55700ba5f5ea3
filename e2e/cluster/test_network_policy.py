"""The rendered NetworkPolicies against what pods really do: the ports they listen on, whom they connect to.

Where the network enforces policies a missing rule would show as a failing call; where it does not (a plain
CNI), this is what shows it.
"""

from typing import Any

import pytest
from clusterkit.callers import Callers
from clusterkit.node_shell import NodeShell, Socket
from clusterkit.release import Release
from clusterkit.report import Report

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
_PROBED = {7071, 7081}  # by the kubelet, which no policy keeps out
Json = dict[str, Any]


def _policies(release: Release, component: str) -> list[Json]:
    """Those that select the component's pods."""
    labels = release.pods(component)[0]["metadata"]["labels"]

    def selects(policy: Json) -> bool:
        wanted: dict[str, str] = policy["spec"]["podSelector"].get("matchLabels", {})
        return wanted.items() <= labels.items()

    return [policy for policy in release.kubectl.list("networkpolicies") if selects(policy)]


def _ports(policies: list[Json], direction: str, pod: Json) -> set[tuple[str, int]]:
    """Protocol and number of every port that some rule allows; names are the pod's own."""
    names = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    rules = [rule for policy in policies for rule in policy["spec"].get(direction, [])]
    allowed = [port for rule in rules for port in rule.get("ports", [])]
    return {
        (port["protocol"], names.get(port["port"], port["port"]))
        for port in allowed
        if port["port"] in names or isinstance(port["port"], int)
    }


def _sockets(release: Release, nodes: NodeShell, pod: Json) -> list[Socket]:
    return nodes.sockets(pod["spec"]["nodeName"], pod["metadata"]["uid"])


@pytest.mark.parametrize("component", ["registry", "operator", "redis"])
def test_rules_allow_what_pods_listen_on_and_whom_they_connect_to(
    release: Release, nodes: NodeShell, callers: Callers, component: str, report: Report
) -> None:
    callers.dial(2)
    policies = _policies(release, component)
    assert any(policy["metadata"]["name"].endswith("-deny") for policy in policies), "denied by default"
    (pod, *_) = release.ready_pods(component)
    sockets = _sockets(release, nodes, pod)
    listening = {s.local_port for s in sockets if s.is_listening}
    declared = {port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert listening == declared
    served = {port for _, port in _ports(policies, "ingress", pod)} & listening
    assert listening - served <= _PROBED
    reached = {s.remote_port for s in sockets if not s.is_listening and s.local_port not in listening}
    assert reached <= {port for _, port in _ports(policies, "egress", pod)}
    report.add(
        f"NetworkPolicy: {component}", note=f"listens on {sorted(listening)}, connects to {sorted(reached)}"
    )


@pytest.mark.parametrize("component", ["edge", "relay"])
def test_pods_of_the_host_network_open_what_they_declare_and_rtp(
    release: Release, nodes: NodeShell, callers: Callers, component: str
) -> None:
    callers.dial(2)
    for pod in release.ready_pods(component):
        declared = {port["hostPort"] for port in pod["spec"]["containers"][0]["ports"]}
        opened = {s.local_port for s in _sockets(release, nodes, pod) if s.is_listening}
        rtp = {port for port in opened if 20000 <= port < 29600}
        assert opened - rtp == declared
        assert not rtp or component == "relay"
