"""The commands of the how-tos about documents, against a real apiserver without an operator."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterkit.commands import Commands
from clusterkit.kubectl import Kubectl, eventually
from gatewaykit.howto import HowTo

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
GROUP = "sipgw.io"
PLURALS = ("sipgateways", "siptrunks", "botroutes")


@pytest.fixture(scope="module")
def group(kubectl: Kubectl) -> Iterator[str]:
    """Install the CRDs under a group of this test alone."""
    group = f"h{uuid.uuid4().hex[:8]}.{GROUP}"
    served = [f"{plural}.{group}" for plural in PLURALS]
    names = [f"crd/{name}" for name in served]
    for plural in PLURALS:
        crd = (ROOT / "charts" / "sipgw" / "files" / "crds" / f"{plural}.yaml").read_text("utf-8")
        kubectl.run("apply", "--server-side", "-f", "-", text=crd.replace(GROUP, group))
    eventually(lambda: all(kubectl.ask("get", name).status == 0 for name in served), 20, "they are served")
    yield group
    kubectl.run("delete", *names, "--wait=false")


@pytest.mark.parametrize("name", ["add-a-trunk", "route-a-number"])
def test_a_how_to_works_in_kubernetes(kubectl: Kubectl, group: str, tmp_path: Path, name: str) -> None:
    commands = Commands(kubectl, tmp_path)
    how_to = HowTo.read(name)
    how_to.write(tmp_path)
    for path in tmp_path.glob("*.yaml"):
        path.write_text(path.read_text("utf-8").replace(GROUP, group), "utf-8")
    steps = [step for step in how_to.steps if "kubectl" in step.command and "helm" not in step.command]
    assert steps
    for step in steps:
        command = step.command
        for plural in PLURALS:
            command = command.replace(f" {plural}", f" {plural}.{group}")
        step.check(commands.run(command, tmp_path))
