"""Edges behind a Service (`edge.network=service`).

No cloud's balancer is here: its address is routed to one of the nodes, as such a balancer would, and written
into the Service's status.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from clusterkit.callers import Callers, address_towards
from clusterkit.kubectl import eventually
from clusterkit.release import CHART, SIP_PORT, Release
from clusterkit.report import Report
from resources import document, remove_all

from sipgw.siptest import CallRefused, SipTestError

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(500),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="only root routes a balancer's address"
    ),
]
ADDRESS = "198.51.100.77"


@pytest.fixture
def balanced(release: Release) -> Iterator[str]:
    """The balancer's address."""
    try:
        release.upgrade_to_others(
            "edge", CHART, "--set", "edge.network=service", "--set", f"edge.advertise={ADDRESS}"
        )
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
    release: Release, balanced: str, report: Report
) -> None:
    """Only the caller's address may call, so an edge that sees another would answer 403."""
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
        callers.mark()
        callers.rest(3)
        findings = callers.findings()
        report.add("edges behind a Service", findings, "its address set by hand: no balancer here")
        assert findings.lost == 0, findings.why_lost
        callers.hang_up()
        eventually(lambda: not release.calls(), 10, "each BYE arrived")


def _is_answered(address: tuple[str, int]) -> bool:
    """Each time from another port: a flow that came before kube-proxy's rule would keep its way."""
    with Callers([address]) as callers:
        try:
            callers.dial(1)
        except (CallRefused, SipTestError):
            return False
    return True
