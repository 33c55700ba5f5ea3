"""Parts fail under calls. No call ends, and the gaps are measured."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusterkit.bots import Bots
from clusterkit.callers import Callers, Findings
from clusterkit.commands import Commands
from clusterkit.kubectl import eventually
from clusterkit.node_shell import NodeShell
from clusterkit.release import Release
from clusterkit.report import Report
from gatewaykit.howto import HowTo
from resources import await_route, gateway, remove_all, route

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400, func_only=True)]

CALLS = 10
RELAY_GAP_MS = 2000
MOVE_GAP_MS = 500  # on purpose
EDGE_GAP_MS = 2000  # media passes no edge, so a gap comes from a busy machine
LONG_CALL_S = int(os.environ.get("SIPGW_E2E_LONG_CALL_S", "180"))


@pytest.fixture(autouse=True)
def quick(release: Release) -> Iterator[None]:
    release.kubectl.apply(gateway())
    eventually(lambda: len(release.relays()) >= 3, 90, "three relays")
    yield
    remove_all(release.kubectl)
    release.wait_ready()


@pytest.fixture
def talking(callers: Callers) -> Callers:
    """Hold calls for a few seconds."""
    callers.dial(CALLS)
    callers.rest(3)
    callers.mark()
    return callers


def _busiest_relay(release: Release) -> dict[str, Any]:
    name = release.calls_by_relay().most_common(1)[0][0]
    return release.kubectl.get("pod", name)


def _settle(callers: Callers, report: Report, case: str, note: str = "", seconds: float = 8) -> Findings:
    callers.rest(seconds)
    findings = callers.findings()
    report.add(case, findings, note)
    assert findings.lost == 0, findings.why_lost
    return findings


def _takes_new_calls(release: Release, timeout_s: float = 30) -> float:
    """Return the seconds until each ready edge takes a call."""

    def is_answered() -> bool:
        with Callers(release.edges()) as others:
            try:
                others.dial(len(others.edges))
            except Exception:  # a caller may get any error at such a moment
                return False
            return True

    return eventually(is_answered, timeout_s, "a new call is answered")


def test_a_relay_killed(release: Release, nodes: NodeShell, talking: Callers, report: Report) -> None:
    relay = _busiest_relay(release)
    name = relay["metadata"]["name"]
    nodes.signal(relay["spec"]["nodeName"], f"--name={name}", "SIGKILL")
    findings = _settle(talking, report, "relay killed (-9)")
    assert any(findings.moved)
    assert findings.worst_gap_ms < RELAY_GAP_MS


def test_a_relay_stopped_and_continued(
    release: Release, nodes: NodeShell, talking: Callers, report: Report
) -> None:
    relay = _busiest_relay(release)
    node, name = relay["spec"]["nodeName"], relay["metadata"]["name"]
    nodes.signal(node, f"--name={name}", "SIGSTOP")
    try:
        talking.rest(6)
    finally:
        nodes.signal(node, f"--name={name}", "SIGCONT")
    findings = _settle(talking, report, "relay stopped 6 s (SIGSTOP, SIGCONT)", seconds=5)
    assert findings.worst_gap_ms < RELAY_GAP_MS


def test_an_edge_killed(release: Release, nodes: NodeShell, talking: Callers, report: Report) -> None:
    edge = release.ready_pods("edge")[0]
    nodes.signal(edge["spec"]["nodeName"], f"--name={edge['metadata']['name']}", "SIGKILL")
    findings = _settle(talking, report, "edge killed (-9)")
    assert findings.worst_gap_ms < EDGE_GAP_MS
    release.wait_ready()
    talking.hang_up()
    eventually(lambda: not release.calls(), 15, "every call is over, whoever owned it")


def test_an_edge_pod_deleted(release: Release, talking: Callers, report: Report) -> None:
    edge = release.ready_pods("edge")[0]["metadata"]["name"]
    release.kubectl.run("delete", "pod", edge)
    findings = _settle(talking, report, "edge pod deleted")
    assert findings.worst_gap_ms < EDGE_GAP_MS


def test_an_edge_stopped_and_continued(
    release: Release, nodes: NodeShell, talking: Callers, report: Report
) -> None:
    edge = release.ready_pods("edge")[0]
    node, name = edge["spec"]["nodeName"], edge["metadata"]["name"]
    nodes.signal(node, f"--name={name}", "SIGSTOP")
    try:
        talking.rest(8)
    finally:
        nodes.signal(node, f"--name={name}", "SIGCONT")
    findings = _settle(talking, report, "edge stopped 8 s (SIGSTOP, SIGCONT)", seconds=4)
    assert findings.worst_gap_ms < EDGE_GAP_MS


def test_registry_and_operator_killed(release: Release, talking: Callers, report: Report) -> None:
    for component in ("registry", "operator"):
        release.kubectl.run(
            "delete", "pod", "-l", release.selector(component), "--grace-period=0", "--force", "--wait=false"
        )
    took_s = _takes_new_calls(release)
    findings = _settle(
        talking, report, "both registries and operators killed", f"new calls after {took_s:.1f} s"
    )
    assert findings.worst_gap_ms < EDGE_GAP_MS


def test_redis_restarted(release: Release, talking: Callers, report: Report) -> None:
    redis = release.pods("redis")[0]["metadata"]
    release.kubectl.run("delete", "pod", redis["name"], "--grace-period=0", "--force")
    release.wait_others("redis", {redis["uid"]})
    eventually(lambda: release.ready_pods("redis"), 60, "another Redis is ready")
    took_s = _takes_new_calls(release, 60)
    findings = _settle(talking, report, "Redis restarted, empty", f"new calls after {took_s:.1f} s")
    assert findings.worst_gap_ms < EDGE_GAP_MS
    counted = eventually(lambda: len(release.calls()) >= CALLS, 30, "the calls are in the new Redis")
    assert counted < 30


def test_a_node_drained(release: Release, talking: Callers, report: Report, tmp_path: Path) -> None:
    node = _busiest_relay(release)["spec"]["nodeName"]
    commands = Commands(release.kubectl, tmp_path)
    began = time.monotonic()
    drain, uncordon = (step.command.replace("NODE", node) for step in HowTo.read("drain-a-node").steps)
    try:
        commands.run(drain)
        note = f"kubectl drain took {time.monotonic() - began:.0f} s"
        findings = _settle(talking, report, "node drained", note, seconds=3)
    finally:
        commands.run(uncordon)
    assert any(findings.moved)
    assert findings.worst_gap_ms < MOVE_GAP_MS


def test_a_kubelet_stopped(release: Release, nodes: NodeShell, talking: Callers, report: Report) -> None:
    """The kubelet stops until its node is NotReady: calls there go on, and new calls are accepted."""
    node = _busiest_relay(release)["spec"]["nodeName"]

    def is_unready() -> bool:
        conditions = release.kubectl.get("node", node)["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] != "True" for c in conditions)

    nodes.pause_kubelet(node, 80)
    took_s = eventually(is_unready, 75, f"{node} is not ready")
    answered_s = _takes_new_calls(release, 20)
    note = f"NotReady after {took_s:.0f} s; new calls in {answered_s:.1f} s"
    findings = _settle(talking, report, "kubelet stopped", note)
    eventually(lambda: not is_unready(), 120, f"{node} is ready again")
    assert findings.worst_gap_ms < EDGE_GAP_MS


def test_a_bot_hangs_up_three_minutes_in_with_the_connection_forgotten(
    release: Release, nodes: NodeShell, bots: Bots, callers: Callers, report: Report
) -> None:
    """The BYE reaches the caller without the conntrack entry of the INVITE."""
    endpoint = bots.start("brief", HANG_UP_AFTER_S=str(LONG_CALL_S))
    release.kubectl.apply(route("brief", (endpoint, 1)))
    await_route(release, callers, "brief")
    (call,) = callers.dial(1)
    callers.rest(2)
    on = [pod["spec"]["nodeName"] for pod in release.ready_pods("edge")]
    forgotten = [nodes.forget_connections(node, 5060) for node in on]
    assert any(forgotten), "there was a connection to forget"
    eventually(lambda: call.has_ended, LONG_CALL_S + 20, "the bot hangs up")
    assert call.end is not None
    assert call.end.by.value == "peer"
    assert call.times.ended_s is not None
    assert call.times.answered_s is not None
    took_s = call.times.ended_s - call.times.answered_s
    report.add(
        f"bot hangs up after {LONG_CALL_S} s, conntrack deleted", note=f"BYE came after {took_s:.0f} s"
    )
    assert took_s > LONG_CALL_S - 5
