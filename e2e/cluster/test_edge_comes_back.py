"""An edge's pod ends under calls and another takes its place: at the same address, and on another node.

The callers then hold, resume, refresh and hang up, at the address that their dialog has.
"""

import asyncio
from collections.abc import Iterator

import pytest
from clusterkit.callers import Callers, remote_host
from clusterkit.kubectl import eventually
from clusterkit.release import CHART, Release
from clusterkit.report import Report

from sipgw.siptest import PhoneCall

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500, func_only=True)]
CALLS = 9
GAP_MS = 2000  # media passes no edge, so a gap comes from a busy machine


async def hold_refresh_and_hang_up(call: PhoneCall) -> None:
    """Send each request to the dialog's remote target. Raises CallRefused, SipTestError."""
    await call.hold()
    await asyncio.sleep(0.5)
    await call.resume()
    await call.reinvite()  # the same description once more, as in a session refresh
    await asyncio.sleep(0.5)
    await call.hangup(10)


def test_an_edge_comes_back_at_its_address(release: Release, callers: Callers, report: Report) -> None:
    callers.dial(CALLS)
    edge = release.ready_pods("edge")[0]
    host, node = edge["status"]["hostIP"], edge["spec"]["nodeName"]
    there = [call for call in callers.calls if remote_host(call) == host]
    assert there
    callers.mark()
    release.kubectl.run("delete", "pod", edge["metadata"]["name"])
    took_s = release.wait_others("edge", {edge["metadata"]["uid"]})
    eventually(lambda: host in dict(release.edges()), 60, "an edge is ready there again")
    assert node in {pod["spec"]["nodeName"] for pod in release.ready_pods("edge")}
    findings = callers.findings()
    report.add("edge pod deleted, back on its node", findings, f"after {took_s:.1f} s")
    assert findings.lost == 0, findings.why_lost
    assert findings.worst_gap_ms < GAP_MS
    callers.each(hold_refresh_and_hang_up)
    eventually(lambda: not release.calls(), 15, "every BYE was served")


@pytest.fixture
def two_edges(release: Release) -> Iterator[list[str]]:
    """Install two edges as a Deployment on three nodes; return the nodes without one."""
    release.upgrade_to_others("edge", CHART, "--set", "edge.replicas=2")
    nodes = {node["metadata"]["name"] for node in release.kubectl.list("nodes")}
    yield sorted(nodes - {pod["spec"]["nodeName"] for pod in release.ready_pods("edge")})
    for node in nodes:
        release.kubectl.run("uncordon", node)
    release.upgrade_to_others("edge")


def test_an_edge_that_comes_back_elsewhere_tells_its_callers(
    release: Release, two_edges: list[str], callers: Callers, report: Report
) -> None:
    assert two_edges, "a node without an edge"
    callers.dial(CALLS)
    edge = release.ready_pods("edge")[0]
    host, node = edge["status"]["hostIP"], edge["spec"]["nodeName"]
    left = [call for call in callers.calls if remote_host(call) == host]
    assert left
    callers.mark()
    release.kubectl.run("cordon", node)
    release.kubectl.run("delete", "pod", edge["metadata"]["name"])
    told_s = eventually(
        lambda: all(remote_host(call) != host for call in left), 20, "the callers have another address"
    )
    eventually(lambda: len(release.edges()) == 2, 60, "two edges again")
    assert host not in dict(release.edges())
    findings = callers.findings()
    report.add("edge pod back on another node", findings, f"{len(left)} callers told within {told_s:.1f} s")
    assert findings.lost == 0, findings.why_lost
    assert findings.worst_gap_ms < GAP_MS
    callers.each(hold_refresh_and_hang_up)
    eventually(lambda: not release.calls(), 15, "every BYE was served")
