"""Fixtures of the cluster tests. Without a cluster (see clusterkit.cluster) they are skipped, so that
`make test` needs none; `make e2e` sets SIPGW_E2E=1, and then a missing one is a failure."""

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "kit"))  # the tests' own library, not a distribution

from clusterkit.bots import Bots
from clusterkit.callers import Callers
from clusterkit.cluster import Cluster, NoClusterError, find_cluster
from clusterkit.kubectl import Kubectl
from clusterkit.node_shell import NodeShell
from clusterkit.release import ROOT, Release
from clusterkit.report import PATH, Report

_ORDER = [
    *(
        "test_images",
        "test_crds",
        "test_install",
        "test_routing",
        "test_trunks",
        "test_scale",
        "test_network_policy",
        "test_failures",
        "test_node_cut",
    ),
    *("test_upgrade", "test_uninstall", "test_install_howto", "test_gitops"),
]
TOOLS_IMAGE = "sipgw/tools:0.1.0"
VALUES: dict[str, Any] = {
    "relay": {
        "capacity": 20,
        "terminationGracePeriodSeconds": 60,
        "resources": {"requests": {"cpu": "250m"}},
    }
}
"""The values of the tests' release: little room in each relay, so that a few calls fill it, and little
of a core, since six relays share a machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the install tests first and the uninstall tests last."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        is_ours = item.path.parent == here
        return _ORDER.index(item.path.stem) if is_ours and item.path.stem in _ORDER else len(_ORDER) - 3

    ours = sorted((item for item in items if item.path.parent == here), key=place)
    others = [item for item in items if item.path.parent != here]
    items[:] = [*others, *ours]


_CLUSTER = pytest.StashKey[Cluster | NoClusterError]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find or make the cluster before any test's time-out begins: a machine's first takes ten minutes."""
    is_wanted = "SIPGW_E2E" in os.environ or "SIPGW_E2E_KUBECONFIG" in os.environ
    here = Path(__file__).parent
    if is_wanted and any(here in item.path.parents for item in session.items):
        try:
            session.config.stash[_CLUSTER] = find_cluster()
        except NoClusterError as error:
            session.config.stash[_CLUSTER] = error


@pytest.fixture(scope="session")
def real_cluster(pytestconfig: pytest.Config) -> Cluster:
    cluster = pytestconfig.stash.get(_CLUSTER, None)
    if cluster is None:
        pytest.skip("no cluster named: make e2e, or SIPGW_E2E_KUBECONFIG")
    if isinstance(cluster, NoClusterError):
        pytest.fail(str(cluster))
    cluster.kubectl().run("get", "nodes")
    return cluster


@pytest.fixture(scope="session")
def kubeconfig(real_cluster: Cluster) -> str:
    return real_cluster.kubeconfig


@pytest.fixture(scope="module")
def kubectl(real_cluster: Cluster) -> Iterator[Kubectl]:
    """kubectl in a namespace of this module alone."""
    kubectl = real_cluster.kubectl(f"sipgw-test-{uuid.uuid4().hex[:8]}")
    kubectl.run("create", "namespace", kubectl.namespace)
    yield kubectl
    kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false")


@pytest.fixture(scope="session")
def images(real_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load the images that `make images` built onto every node, unless SIPGW_E2E_IMAGES=there."""
    if os.environ.get("SIPGW_E2E_IMAGES") != "there":
        archives = sorted((ROOT / "build" / "images").glob("*.tar"))
        real_cluster.load(archives, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def release(
    real_cluster: Cluster, images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """The chart of this tree, installed and ready; removed at the end.

    For work on the tests, SIPGW_E2E_KEEP=1 leaves it installed and SIPGW_E2E_REUSE=1 uses one that is there.
    """
    kubectl = real_cluster.kubectl("sipgw-e2e")
    release = Release(kubectl, tmp_path_factory.mktemp("release"), values=VALUES)
    if "SIPGW_E2E_REUSE" not in os.environ:
        _remove(release)
        release.install()
    release.wait_ready()
    yield release
    if "SIPGW_E2E_KEEP" not in os.environ:
        _remove(release)


def _remove(release: Release) -> None:
    if release.helm("list", "--short").split():
        release.uninstall()
    release.kubectl.ask("delete", "namespace", release.kubectl.namespace, "--timeout=120s", timeout_s=130)


@pytest.fixture
def callers(release: Release) -> Iterator[Callers]:
    """Callers of this test alone."""
    release.wait_ready()
    with Callers(release.edges()) as callers:
        yield callers


@pytest.fixture(scope="session")
def nodes(release: Release) -> NodeShell:
    shell = NodeShell(release.kubectl, TOOLS_IMAGE)
    shell.start()
    return shell


@pytest.fixture
def bots(release: Release) -> Iterator[Bots]:
    bots = Bots(release.kubectl, TOOLS_IMAGE)
    yield bots
    bots.stop_all()


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    report = Report()
    _reports.append(report)
    yield report
    report.write()


_reports: list[Report] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in _reports:
        terminalreporter.section("cluster e2e")
        terminalreporter.write(report.text())
        terminalreporter.write_line(f"in {PATH.relative_to(ROOT)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report: pytest.TestReport = yield
    release = getattr(item, "funcargs", {}).get("release")
    if report.failed and isinstance(release, Release):
        report.sections.append(("cluster", release.describe()))
    return report
