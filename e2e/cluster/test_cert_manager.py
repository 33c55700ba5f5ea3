"""Certificates by cert-manager (`tls.mode=cert-manager`): it signs and renews them, and calls go on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterkit.callers import Callers
from clusterkit.certificates import ROLES, certificate_of, renew
from clusterkit.kubectl import Kubectl, eventually
from clusterkit.release import CHART, Release
from clusterkit.report import Report

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900, func_only=True)]
SCRIPT = Path(__file__).with_name("cert-manager.sh")
_CRDS = ("crd/certificates.cert-manager.io", "crd/issuers.cert-manager.io")


@pytest.fixture
def cert_manager(release: Release, tmp_path: Path) -> Iterator[Kubectl]:
    """The cluster's cert-manager, or one that runs beside the cluster."""
    kubectl = release.kubectl
    if "cert-manager" in kubectl.run("get", "deployments", "-A", "-o", "name"):
        yield kubectl
        return
    built = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        pytest.skip(f"no cert-manager: {built.stderr}")
    folder = Path(built.stdout.strip())
    command = [folder / "controller", "--kubeconfig", kubectl.kubeconfig, "--leader-elect=false"]
    command += ["--cluster-resource-namespace", kubectl.namespace, "--metrics-listen-address", "127.0.0.1:0"]
    try:
        kubectl.run("apply", "--server-side", "-f", str(folder))
        kubectl.run("wait", "--for=condition=Established", "--timeout=20s", *_CRDS)
        with (tmp_path / "cert-manager.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield kubectl
        finally:
            process.terminate()
            process.wait()
    finally:
        kubectl.run("delete", "-f", str(folder), "--ignore-not-found")


@pytest.fixture
def signed(release: Release, cert_manager: Kubectl) -> Iterator[Release]:
    """Install the release anew, with certificates by cert-manager."""
    secrets = [f"{release.name}-ca", *map(release.tls_secret, ROLES)]
    release.uninstall()
    eventually(lambda: not _held(cert_manager, secrets), 60, "the operator's certificates are gone")
    try:
        release.install(CHART, "--set", "tls.mode=cert-manager")
        release.wait_ready(300)
        yield release
    finally:
        release.uninstall()
        cert_manager.run("delete", "secret", "--ignore-not-found", *secrets)
        release.install()
        release.wait_ready()


def _held(kubectl: Kubectl, secrets: list[str]) -> str:
    return kubectl.run("get", "secret", "--ignore-not-found", "-o", "name", *secrets)


def test_cert_manager_signs_for_every_role_and_renews_under_calls(signed: Release, report: Report) -> None:
    with Callers(signed.edges()) as callers:
        callers.dial(4, seconds=400)
        callers.mark()
        took_s = renew(signed)
        for role in ROLES:
            certificate = certificate_of(signed, role)
            assert certificate is not None
            assert certificate.issuer.rfc4514_string() == f"CN={signed.name}-ca"
        callers.dial(4, seconds=400)
        callers.rest(2)
        findings = callers.findings()
        report.add("certificates by cert-manager, renewed", findings, f"served after {took_s:.0f} s")
        assert findings.lost == 0, findings.why_lost
        callers.hang_up()
        eventually(lambda: not signed.calls(), 15, "every call can be ended")
