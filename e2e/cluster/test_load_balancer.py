"""Edges behind a Service (`edge.network=service`).

No cloud's balancer is here: its address is routed to one of the nodes, as such a balancer would, and written
into the Service's status.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterkit.callers import Callers, address_towards
from clusterkit.commands import Commands
from clusterkit.kubectl import eventually
from clusterkit.node_shell import NodeShell
from clusterkit.policies import compare
from clusterkit.release import SIP_PORT, Release
from clusterkit.report import Report
from gatewaykit.howto import HowTo
from resources import document, remove_all

from sipgw.siptest import CallRefused, SipTestError

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(500, func_only=True),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="only root routes a balancer's address"
    ),
]
ADDRESS = "198.51.100.77"


@pytest.fixture
def balanced(release: Release, tmp_path: Path) -> Iterator[str]:
    """Install edges behind a Service; return the balancer's address."""
    try:
        before = {pod["metadata"]["uid"] for pod in release.pods("edge")}
        (step,) = HowTo.read("install").steps_of("Behind a LoadBalancer")
        Commands(release.kubectl, tmp_path).run(step.command.replace("203.0.113.10", ADDRESS))
        release.wait_others("edge", before)
        release.wait_ready()
        status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}})
        service = f"{release.name}-sip"
        release.kubectl.run("patch", "service", service, "--subresource=status", "--type=merge", "-p", status)
        node = release.ready_pods("edge")[0]["status"]["hostIP"]
        subprocess.run(["ip", "route", "replace", ADDRESS, "via", node], check=True)
        yield ADDRESS
    finally:
        subprocess.run(["ip", "route", "delete", ADDRESS], check=False)
        remove_all(release.kubectl)
        release.upgrade_to_others("edge")


def test_calls_come_through_a_balancer_with_the_callers_own_address(
    release: Release, balanced: str, nodes: NodeShell, report: Report
) -> None:
    """Only the caller's address may call, so an edge that sees another address would respond 403."""
    address = (balanced, SIP_PORT)
    release.kubectl.apply(
        document("SipTrunk", "caller", {"sourceCidrs": [f"{address_towards(address)}/32"]}),
        document("SipTrunk", "elsewhere", {"sourceCidrs": ["203.0.113.0/24"]}),
    )
    eventually(lambda: _is_answered(address), 60, "a call is answered by way of the balancer")
    with Callers([address]) as callers:

        def are_of_the_trunk() -> bool:
            callers.hang_up()
            callers.dial(4)
            return [call.trunk for call in release.calls()] == ["caller"] * 4

        eventually(are_of_the_trunk, 10, "the edge follows: calls are no longer of the default trunk")
        contacts = [
            str(call.final_response and call.final_response.headers.get("Contact")) for call in callers.calls
        ]
        assert all(balanced in contact for contact in contacts), "where callers send what follows"
        report.add("NetworkPolicy: edge behind a Service", note=compare(release, nodes, "edge"))
        callers.mark()
        callers.rest(3)
        findings = callers.findings()
        report.add("edges behind a Service", findings, "its address set by hand: no balancer here")
        assert findings.lost == 0, findings.why_lost
        callers.hang_up()
        eventually(lambda: not release.calls(), 10, "each BYE arrived")


def _is_answered(address: tuple[str, int]) -> bool:
    """Call from another port each time, since a flow older than kube-proxy's rule would keep its old path."""
    with Callers([address]) as callers:
        try:
            callers.dial(1)
        except (CallRefused, SipTestError):
            return False
    return True
