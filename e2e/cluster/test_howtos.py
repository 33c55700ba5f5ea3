"""The commands of the how-tos about documents, against a real apiserver; no operator answers here."""

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatewaykit.howto import HowTo

from .conftest import Kubectl

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
GROUP = "sipgw.io"
PLURALS = ("sipgateways", "siptrunks", "botroutes")


@pytest.fixture(scope="module")
def group(kubectl: Kubectl) -> Iterator[str]:
    """The CRDs, under a group of the test's own."""
    group = f"h{uuid.uuid4().hex[:8]}.{GROUP}"
    names = [f"crd/{plural}.{group}" for plural in PLURALS]
    for plural in PLURALS:
        crd = (ROOT / "charts" / "sipgw" / "files" / "crds" / f"{plural}.yaml").read_text("utf-8")
        kubectl.run("apply", "--server-side", "-f", "-", text=crd.replace(GROUP, group))
    kubectl.run("wait", "--for=condition=Established", "--timeout=20s", *names)
    yield group
    kubectl.run("delete", *names, "--wait=false")


def shell(command: str, kubectl: Kubectl, directory: Path) -> str:
    """The output of a command that has to succeed, in the namespace of the test."""
    config = directory / "kubeconfig"
    shutil.copy(kubectl.kubeconfig, config)
    here = Kubectl(kubectl.program, str(config), kubectl.namespace)
    here.run("config", "set-context", "--current", f"--namespace={kubectl.namespace}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        cwd=directory,
        env={"PATH": f"{Path(kubectl.program).parent}:/usr/bin:/bin", "KUBECONFIG": str(config)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["add-a-trunk", "route-a-number"])
def test_a_how_to_works_in_kubernetes(kubectl: Kubectl, group: str, tmp_path: Path, name: str) -> None:
    how_to = HowTo.read(name)
    how_to.write(tmp_path)
    for path in tmp_path.glob("*.yaml"):
        path.write_text(path.read_text("utf-8").replace(GROUP, group), "utf-8")
    steps = [step for step in how_to.steps if "kubectl" in step.command]
    assert steps
    for step in steps:
        command = step.command
        for plural in PLURALS:
            command = command.replace(f" {plural}", f" {plural}.{group}")
        step.check(shell(command, kubectl, tmp_path))
