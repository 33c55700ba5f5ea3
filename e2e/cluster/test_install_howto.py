"""Every command of docs/how-to/install.md, as written, from the first to the uninstall."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterkit.cluster import Cluster
from clusterkit.commands import Commands
from clusterkit.kubectl import Kubectl
from clusterkit.release import Release
from clusterkit.report import Report
from gatewaykit.howto import HowTo

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400, func_only=True)]


@pytest.fixture
def empty(real_cluster: Cluster, release: Release) -> Iterator[Kubectl]:
    """Remove the tests' own release from the cluster."""
    if release.helm("list", "--short").split():
        release.uninstall()
    kubectl = real_cluster.kubectl("sipgw")
    crds = ("sipgateways.sipgw.io", "siptrunks.sipgw.io", "botroutes.sipgw.io")
    kubectl.run("delete", "crd", "--ignore-not-found", *crds)
    yield kubectl
    kubectl.ask("delete", "namespace", "sipgw", "--timeout=100s", timeout_s=110)


def test_the_how_to_installs_calls_and_uninstalls(empty: Kubectl, tmp_path: Path, report: Report) -> None:
    commands = Commands(empty, tmp_path)
    steps = [step for step in HowTo.read("install").steps if step.section != "Behind a LoadBalancer"]
    assert len(steps) == 8
    for step in steps:
        step.check(commands.run(step.command))
    assert "sipgw.io" not in empty.run("get", "crd", "-o", "name"), "with crds.keep=false they go too"
    report.add("docs: install, call, uninstall", note=f"{len(steps)} blocks of commands as written")
