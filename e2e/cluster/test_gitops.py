"""docs/how-to/gitops.md: `helm template` is applied, and rendered and applied again under calls."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clusterkit.callers import Callers
from clusterkit.commands import Commands
from clusterkit.kubectl import eventually
from clusterkit.release import ROOT, Release
from clusterkit.report import Report
from gatewaykit.howto import HowTo

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900, func_only=True)]


@pytest.fixture
def without_helm(release: Release) -> Iterator[Release]:
    """The release's namespace, without a release that helm knows."""
    if release.helm("list", "--short").split():
        release.uninstall()
    eventually(lambda: not release.kubectl.list("pods", release.selector()), 120, "the old release is gone")
    yield release
    roles = ("clusterrole,clusterrolebinding", "-l", release.selector())
    release.kubectl.ask("delete", *roles)
    release.kubectl.ask("delete", "namespace", release.kubectl.namespace, "--timeout=100s", timeout_s=110)


def password(release: Release) -> str:
    secret = release.kubectl.get("secret", f"{release.name}-redis")
    return base64.b64decode(secret["data"]["password"]).decode()


def uids(release: Release) -> set[str]:
    """Return the uids of all pods except relays, whose number the operator changes under calls."""
    relays = {pod["metadata"]["uid"] for pod in release.pods("relay")}
    return {pod["metadata"]["uid"] for pod in release.pods()} - relays


def test_two_renderings_applied_one_after_the_other_disturb_no_call(
    without_helm: Release, tmp_path: Path, report: Report
) -> None:
    release = without_helm
    (tmp_path / "charts").symlink_to(ROOT / "charts")
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(release.values))
    commands = Commands(release.kubectl, tmp_path)

    def follow() -> str:
        for step in HowTo.read("gitops").steps_of("With kubectl"):
            text = step.command.replace("helm template sipgw", f"helm template sipgw --values {values}")
            commands.run(text, tmp_path)
        return (tmp_path / "sipgw.yaml").read_text()

    first = follow()
    release.wait_ready()
    drawn, pods = password(release), uids(release)
    with Callers(release.edges()) as callers:
        callers.dial(10)
        callers.rest(2)
        callers.mark()
        assert follow() == first, "another rendering is the same"
        assert password(release) == drawn
        callers.rest(5)
        assert uids(release) == pods, "applied again it restarts nothing"
        for part in ("deployment", "statefulset"):  # what the next restart finds
            name = release.name + ("-registry" if part == "deployment" else "-redis")
            release.kubectl.run("rollout", "restart", part, name)
            release.kubectl.run("rollout", "status", part, name, "--timeout=100s", timeout_s=110)
        release.wait_ready()
        eventually(lambda: len(release.calls()) >= 10, 30, "the calls are in the Redis that restarted")
        callers.dial(2, tries=5)
        callers.rest(2)
        findings = callers.findings()
        report.add("docs: rendered twice, applied twice; Redis and registries restarted", findings)
        assert findings.lost == 0, findings.why_lost
        callers.hang_up()
