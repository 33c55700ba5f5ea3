"""A node is cut off from the network, as when it dies: nothing on it sends a packet any more."""

import time
from typing import Any

import pytest
from clusterkit.callers import Callers, address_towards
from clusterkit.kubectl import eventually
from clusterkit.node_shell import NodeShell
from clusterkit.release import Release
from clusterkit.report import Report
from resources import condition, gateway, remove_all

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600, func_only=True)]

CALLS = 30
RELAYS = 4
CUT_S = 45.0
USUAL_GAP_MS = 2000
WORST_GAP_MS = 8000  # no claim of a call takes longer
NEW_CALLS_WITHIN_S = 5.0
Json = dict[str, Any]


@pytest.fixture
def relays(release: Release) -> Any:
    """Enough relays that those of any two nodes have room for all calls."""
    release.kubectl.apply(gateway(RELAYS, 2 * RELAYS))
    eventually(lambda: len(release.relays()) == RELAYS, 120, f"{RELAYS} relays")
    yield
    remove_all(release.kubectl)
    eventually(lambda: all(map(_is_up, release.kubectl.list("nodes", ""))), 120, "every node is back")
    release.wait_ready()


def test_a_node_cut_off_under_calls(release: Release, nodes: NodeShell, relays: None, report: Report) -> None:
    assert len(set(_places(release))) > 1, "relays are on more nodes than one"
    eventually(
        lambda: (
            condition(release.kubectl, "sipgateway", "gateway", "RelaysTogether").get("status") == "False"
        ),
        60,
        "the operator has judged where the relays are",
    )
    with Callers(release.edges()) as callers:
        callers.dial(CALLS, tries=3)
        callers.rest(3)
        cut = _node_to_cut(release)
        staying = [edge for edge in release.edges() if edge[0] != _address(release, cut)]
        assert staying, "an edge lives elsewhere"
        on_it = sum(
            count for name, count in release.calls_by_relay().items() if _node_of(release, name) == cut
        )
        assert on_it > 0
        callers.mark()
        nodes.cut_network(cut, address_towards(staying[0]), CUT_S)
        began = time.monotonic() + 1  # the moment of the cut
        callers.rest(1)
        answered_s = _seconds_until_answered(staying, began)
        callers.rest(max(0.0, began + 15 - time.monotonic()))
        findings = callers.findings()
        note = f"{on_it} calls on its relay; {findings.gaps}; new calls after {answered_s:.1f} s"
        report.add("node cut off (all packets dropped)", findings, note)
        eventually(
            lambda: sum(place != cut for place in _places(release)) >= RELAYS,
            60,
            "as many relays as before on the nodes that are left",
        )
        assert findings.lost == 0, findings.why_lost
        assert findings.usual_gap_ms < USUAL_GAP_MS, findings.gaps
        assert findings.worst_gap_ms < WORST_GAP_MS, findings.gaps
        assert answered_s < NEW_CALLS_WITHIN_S


def _node_to_cut(release: Release) -> str:
    """Choose the node of the busiest relay, but not that of the only Redis, which no gateway survives."""
    redis = release.pods("redis")[0]["spec"]["nodeName"]
    for name, _ in release.calls_by_relay().most_common():
        if (node := _node_of(release, name)) != redis:
            return node
    pytest.fail("every relay with calls is where Redis is")


def _node_of(release: Release, pod: str) -> str:
    return str(release.kubectl.get("pod", pod)["spec"]["nodeName"])


def _places(release: Release) -> list[str]:
    return [pod["spec"]["nodeName"] for pod in release.ready_pods("relay")]


def _address(release: Release, node: str) -> str:
    addresses = release.kubectl.get("node", node)["status"]["addresses"]
    return next(str(one["address"]) for one in addresses if one["type"] == "InternalIP")


def _is_up(node: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])


def _seconds_until_answered(edges: list[tuple[str, int]], began: float) -> float:
    """Return the seconds from the cut until each remaining edge takes a new call."""
    with Callers(edges) as others:
        while time.monotonic() - began < 60:
            try:
                others.dial(len(edges), per_second=50)
            except Exception:  # a caller may get any error at such a moment
                time.sleep(0.2)
            else:
                return time.monotonic() - began
    pytest.fail("no new call is answered within a minute")
