"""`helm upgrade` from the previous commit's release under calls: every edge and every relay is replaced."""

from pathlib import Path

import pytest
from clusterkit.callers import Callers
from clusterkit.cluster import Cluster
from clusterkit.commands import Commands
from clusterkit.kubectl import eventually
from clusterkit.previous import TAG, build_previous
from clusterkit.release import Release
from clusterkit.report import Report
from gatewaykit.howto import HowTo
from resources import gateway, remove_all

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
CALLS = 20


def test_an_upgrade_under_twenty_calls_loses_none(
    real_cluster: Cluster, release: Release, report: Report, tmp_path: Path
) -> None:
    previous = build_previous(tmp_path)
    real_cluster.load(previous.archives, tmp_path)
    release.uninstall()
    eventually(lambda: not release.kubectl.list("pods", release.selector()), 120, "the old release is gone")
    release.install(previous.chart, "--set", f"image.tag={TAG}")
    release.kubectl.apply(gateway())
    release.wait_ready()
    before = {pod["metadata"]["uid"] for pod in release.pods("edge") + release.pods("relay")}
    with Callers(release.edges()) as callers:
        callers.dial(CALLS, per_second=2, seconds=400)
        callers.rest(3)
        callers.mark()
        (step,) = HowTo.read("upgrade").steps
        Commands(release.kubectl, tmp_path).run(f"{step.command.strip()} --set image.tag=")

        def is_rolled() -> bool:
            now = {pod["metadata"]["uid"] for pod in release.pods("edge") + release.pods("relay")}
            return not before & now and len(release.ready_pods("relay")) >= 3

        took_s = eventually(is_rolled, 400, "every edge and relay is another")
        release.wait_ready()
        callers.edges = release.edges()
        callers.rest(3)
        findings = callers.findings()
        moves = sorted(findings.moved)
        report.add(
            "helm upgrade, all edges and relays rolled",
            findings,
            f"{previous.note}; {took_s:.0f} s; each call moved {moves[0]} to {moves[-1]} times",
        )
        assert findings.lost == 0, findings.why_lost
        assert (moves[0], moves[-1]) == (1, 1), "each call leaves an old relay for a new one, once"
        callers.hang_up()
        eventually(lambda: not release.calls(), 15, "every call can be ended")
    remove_all(release.kubectl)
