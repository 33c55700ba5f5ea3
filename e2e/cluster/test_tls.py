"""mTLS as the chart installs it, by the commands of docs/how-to/tls.md."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from clusterkit.release import ROOT, Release
from clusterkit.report import Report

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
_PAGE = ROOT / "docs" / "how-to" / "tls.md"
_HERE = """
kubectl() {{ {kubectl} "$@"; }}
{make_certificate}
{kubectl} port-forward service/sipgw-registry :7070 > forwarded 2>&1 &
trap "kill $!" EXIT
until grep -q 'Forwarding from 127.0.0.1' forwarded; do sleep 0.1; done
port=$(sed -n 's/Forwarding from 127.0.0.1:\\([0-9]*\\).*/\\1/p' forwarded)
{ask}
"""


def test_the_operators_certificate_opens_the_registry_and_nothing_else_does(
    release: Release, report: Report, tmp_path: Path
) -> None:
    (block,) = re.findall(r"```\n(mkdir -p tls/operator.*?)```", _PAGE.read_text(), re.DOTALL)
    make_certificate, _, rest = block.partition("kubectl port-forward")
    ask = next(line for line in rest.splitlines() if line.startswith("sipgw "))
    kubectl = release.kubectl
    script = _HERE.format(
        kubectl=shlex.join(
            [kubectl.program, "--kubeconfig", kubectl.kubeconfig, "--namespace", kubectl.namespace]
        ),
        make_certificate=make_certificate,
        ask=ask.replace(":7070", ":$port"),
    )

    def run(text: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    shown = run(script)
    assert shown.returncode == 0, shown.stderr
    without = run(script.replace("--tls-dir tls/operator", ""))
    assert without.returncode == 1
    assert "registry 127.0.0.1:" in without.stderr
    report.add("mTLS: the registry, with and without a certificate", note="served; not served")
