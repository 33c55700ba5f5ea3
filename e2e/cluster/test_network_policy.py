"""Compare the rendered NetworkPolicies with what pods open and connect to.

Where the network enforces policies a missing rule would show as a failing call; where it does not (a plain
CNI), this is what shows it. Edges behind a Service: test_load_balancer.py.
"""

import pytest
from clusterkit.callers import Callers
from clusterkit.node_shell import NodeShell
from clusterkit.policies import compare, sockets_of
from clusterkit.release import Release
from clusterkit.report import Report

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120, func_only=True)]


@pytest.mark.parametrize("component", ["registry", "operator", "redis"])
def test_rules_allow_what_pods_listen_on_and_whom_they_connect_to(
    release: Release, nodes: NodeShell, callers: Callers, component: str, report: Report
) -> None:
    callers.dial(2)
    report.add(f"NetworkPolicy: {component}", note=compare(release, nodes, component))


@pytest.mark.parametrize("component", ["edge", "relay"])
def test_pods_of_the_host_network_open_what_they_declare_and_rtp(
    release: Release, nodes: NodeShell, callers: Callers, component: str
) -> None:
    callers.dial(2)
    for pod, sockets in sockets_of(release, nodes, component):
        declared = {port["hostPort"] for port in pod["spec"]["containers"][0]["ports"]}
        opened = {s.local_port for s in sockets if s.is_listening}
        rtp = {port for port in opened if 20000 <= port < 29600}
        assert opened - rtp == declared
        assert not rtp or component == "relay"
