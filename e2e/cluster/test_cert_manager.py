"""Certificates by cert-manager (`tls.mode=cert-manager`): it signs and renews, and no call notices."""

import base64
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusterkit.callers import Callers
from clusterkit.kubectl import Kubectl, eventually
from clusterkit.release import CHART, Release
from clusterkit.report import Report
from cryptography import x509

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
ROLES = ("edge", "relay", "registry", "operator")
SCRIPT = Path(__file__).with_name("cert-manager.sh")
_CRDS = ("crd/certificates.cert-manager.io", "crd/issuers.cert-manager.io")


@pytest.fixture
def cert_manager(release: Release, tmp_path: Path) -> Iterator[Kubectl]:
    """The cluster's own, or one that runs beside it."""
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
    """The release, installed anew with certificates by cert-manager."""
    release.uninstall()
    try:
        release.install(CHART, "--set", "tls.mode=cert-manager")
        release.wait_ready()
        yield release
    finally:
        release.uninstall()
        secrets = [f"{release.name}-ca", *map(release.tls_secret, ROLES)]
        cert_manager.run("delete", "secret", "--ignore-not-found", *secrets)
        release.install()
        release.wait_ready()


def test_cert_manager_signs_for_every_role_and_renews_under_calls(signed: Release, report: Report) -> None:
    kubectl = signed.kubectl
    before = {role: _serial(signed, role) for role in ROLES}
    with Callers(signed.edges()) as callers:
        callers.dial(4, seconds=400)
        callers.mark()
        for role in ROLES:
            kubectl.run("delete", "secret", signed.tls_secret(role))
        eventually(
            lambda: all(_serial(signed, role) not in {0, before[role]} for role in ROLES),
            60,
            "all are renewed",
        )
        took_s = eventually(lambda: _is_served(signed), 200, "servers show what is renewed")
        callers.dial(4, seconds=400)
        callers.rest(2)
        findings = callers.findings()
        report.add("certificates by cert-manager, renewed", findings, f"served after {took_s:.0f} s")
        assert findings.lost == 0, findings.why_lost
        callers.hang_up()
        eventually(lambda: not signed.calls(), 15, "every call can be ended")


def _serial(release: Release, role: str) -> int:
    """Of the role's certificate, which the release's own authority signed; 0 without one."""
    answer = release.kubectl.ask("get", "secret", release.tls_secret(role), "-o", "yaml")
    data = yaml.safe_load(answer.out).get("data", {}) if answer.status == 0 else {}
    if not data.get("tls.crt"):
        return 0
    certificate = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
    assert certificate.issuer.rfc4514_string() == f"CN={release.name}-ca"
    return certificate.serial_number


def _is_served(release: Release) -> bool:
    """Each server shows what is in its role's Secret."""
    for role, port in (("edge", "api"), ("relay", "control"), ("registry", "api")):
        wanted = _serial(release, role)
        try:
            if any(_shown_by(pod, port) != wanted for pod in release.ready_pods(role)):
                return False
        except OSError:
            return False
    return True


def _shown_by(pod: dict[str, Any], port_name: str) -> int:
    (port,) = [p["containerPort"] for p in pod["spec"]["containers"][0]["ports"] if p["name"] == port_name]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # looked at, not believed
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((pod["status"]["podIP"], port), 5) as plain,
        context.wrap_socket(plain) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number
