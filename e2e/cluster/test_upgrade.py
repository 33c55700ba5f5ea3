"""`helm upgrade` from the previous commit's release under calls: every edge and every relay is replaced."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusterkit.bots import Bots, Conversation
from clusterkit.callers import Callers, sip_id
from clusterkit.cluster import Cluster
from clusterkit.commands import Commands
from clusterkit.kubectl import eventually
from clusterkit.previous import TAG, build_previous
from clusterkit.release import Release, is_ready
from clusterkit.report import Report
from gatewaykit.howto import HowTo
from resources import await_route, gateway, remove_all, route

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500, func_only=True)]
CALLS = 20
RELAYS = 5  # two in the first lane, one in each other, which no chart would render


@pytest.fixture(autouse=True)
def clean(release: Release) -> Iterator[None]:
    yield
    remove_all(release.kubectl)


@pytest.fixture
def before(real_cluster: Cluster, release: Release, tmp_path: Path) -> str:
    """Install the previous release, which the test upgrades; say what it was built from."""
    previous = build_previous(tmp_path)
    real_cluster.load(previous.archives, tmp_path)
    release.uninstall()
    eventually(lambda: not release.kubectl.list("pods", release.selector()), 120, "the old release is gone")
    release.install(previous.chart, "--set", f"image.tag={TAG}")
    return previous.note


def uids(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def test_an_upgrade_under_twenty_calls_loses_none(
    release: Release, before: str, bots: Bots, report: Report, tmp_path: Path
) -> None:
    endpoint = bots.start("witness")
    release.kubectl.apply(gateway(RELAYS, RELAYS + 1), route("witness", (endpoint, 1)))
    eventually(lambda: len(release.relays()) == RELAYS, 120, "so many relays")
    release.wait_ready()
    old = uids(release.pods("edge") + release.pods("relay"))
    replicas = release.replicas()
    with Callers(release.edges(), pauses=False) as callers:
        await_route(release, callers, "witness")
        callers.dial(CALLS, per_second=2, seconds=400)
        call_ids = [one.call_id for one in release.calls_of([sip_id(call) for call in callers.calls])]
        callers.rest(3)
        callers.mark()
        (step,) = HowTo.read("upgrade").steps
        columns = "custom-columns=NAME:.metadata.name,REPLICAS:.spec.replicas"
        lanes = ("statefulsets", "-l", release.selector("relay"), "--no-headers", "-o", columns)
        with release.kubectl.watch(*lanes, out=tmp_path / "replicas"):
            Commands(release.kubectl, tmp_path).run(f"{step.command.strip()} --set image.tag=")

            def is_rolled() -> bool:
                pods = release.pods()
                return not old & uids(pods) and all(map(is_ready, pods))

            took_s = eventually(is_rolled, 400, "every edge and relay is another", every_s=2)
        release.wait_ready()
        callers.edges = release.edges()
        callers.rest(3)
        findings = callers.findings(apart_from_standstills=True)
        moves = sorted(findings.moved)
        report.add(
            "helm upgrade, all edges and relays rolled",
            findings,
            f"{before}; {took_s:.0f} s; each call moved {moves[0]} to {moves[-1]} times; {findings.gaps}; "
            f"all at once silent for {findings.standstill_ms:.0f}",
        )
        assert findings.lost == 0, findings.why_lost
        assert moves[0] == 1
        assert moves[CALLS * 3 // 4] == 1, "calls move once, but those of relays that stood still"
        # The pods that start take two cores for seconds; e2e/test_moves.py bounds what a move itself costs.
        assert findings.usual_gap_ms < 1500, findings.gaps
        assert findings.worst_gap_ms < 4000, findings.gaps
        assert findings.standstill_ms < 4000, "not a move's: they come relay by relay"
        said = bots.conversations("witness")
        for call_id, times in zip(call_ids, findings.moved, strict=True):
            assert said.get(call_id) == Conversation(started=1, resumed=times, ended=0, tokens=1)
        callers.hang_up()
        eventually(lambda: not release.calls(), 15, "every call can be ended")
    seen = [line.split() for line in (tmp_path / "replicas").read_text().splitlines()]
    assert {name for name, _ in seen} == set(replicas)
    assert all(int(count) >= replicas[name] for name, count in seen), "the upgrade resets no lane"
    eventually(lambda: release.replicas() == replicas, 60, "the relays are as many as before, lane by lane")
