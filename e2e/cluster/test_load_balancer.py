"""Edges behind a Service (`edge.network=service`).

No cloud's balancer is here: its address is routed to one of the nodes, as such a balancer would, and written
into the Service's status.
"""

import json
import subprocess
from collections.abc import Iterator

import pytest
from clusterkit.callers import Callers
from clusterkit.kubectl import eventually
from clusterkit.release import CHART, SIP_PORT, Release
from clusterkit.report import Report
from resources import remove_all

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
ADDRESS = "198.51.100.77"


@pytest.fixture
def balanced(release: Release) -> Iterator[str]:
    """The balancer's address."""
    before = _edges(release)
    release.upgrade(CHART, "--set", "edge.network=service", "--set", f"edge.advertise={ADDRESS}")
    eventually(lambda: not before & _edges(release), 120, "every edge is another")
    release.wait_ready()
    status = {"status": {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}}
    service = f"{release.name}-sip"
    release.kubectl.run(
        "patch", "service", service, "--subresource=status", "--type=merge", "-p", json.dumps(status)
    )
    node = release.ready_pods("edge")[0]["status"]["hostIP"]
    subprocess.run(["ip", "route", "replace", ADDRESS, "via", node], check=True)
    yield ADDRESS
    subprocess.run(["ip", "route", "delete", ADDRESS], check=True)
    before = _edges(release)
    release.upgrade()
    eventually(lambda: not before & _edges(release), 120, "every edge is another")
    release.wait_ready()
    remove_all(release.kubectl)


def _edges(release: Release) -> set[str]:
    return {pod["metadata"]["uid"] for pod in release.pods("edge")}


def test_calls_come_through_a_balancer_with_the_callers_own_address(
    release: Release, balanced: str, report: Report
) -> None:
    (service,) = [one for one in release.kubectl.list("services") if one["spec"]["type"] == "LoadBalancer"]
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    with Callers([(balanced, SIP_PORT)]) as callers:
        eventually(lambda: _is_answered(callers), 20, "the first call is answered")
        calls = callers.dial(4)
        callers.mark()
        callers.rest(3)
        findings = callers.findings()
        report.add("edges behind a Service", findings, "its address set by hand: no balancer here")
        assert findings.lost == 0, findings.why_lost
        contacts = [str(call.final_response and call.final_response.headers.get("Contact")) for call in calls]
        assert all(balanced in contact for contact in contacts), "where callers send what follows"
        callers.hang_up()
        eventually(lambda: not release.calls(), 10, "each BYE arrived")


def _is_answered(callers: Callers) -> bool:
    """False while kube-proxy has not heard of the address yet."""
    try:
        callers.dial(1)
    except Exception:  # whatever a caller may get in such a moment
        return False
    return True
