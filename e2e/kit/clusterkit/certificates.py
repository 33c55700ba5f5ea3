"""The certificates of a release: those in its Secrets, those that its servers present, and renewing them."""

import base64
import socket
import ssl
import time
from typing import Any

import yaml
from cryptography import x509

from clusterkit.kubectl import eventually
from clusterkit.release import Release

ROLES = ("edge", "relay", "registry", "operator")
_SERVERS = (("edge", "api"), ("relay", "control"), ("registry", "api"))


def certificate_of(release: Release, role: str) -> x509.Certificate | None:
    """Read the certificate in the role's Secret."""
    answer = release.kubectl.ask("get", "secret", release.tls_secret(role), "-o", "yaml")
    data = yaml.safe_load(answer.out).get("data", {}) if answer.status == 0 else {}
    held = base64.b64decode(data.get("tls.crt", ""))
    return x509.load_pem_x509_certificate(held) if held else None


def renew(release: Release) -> float:
    """Delete every role's Secret; return the seconds until all are made anew and servers present them."""
    before = {role: certificate_of(release, role) for role in ROLES}
    assert all(before.values())
    for role in ROLES:
        release.kubectl.run("delete", "secret", release.tls_secret(role))

    def are_others() -> bool:
        now = {role: certificate_of(release, role) for role in ROLES}
        return all(now[role] not in {None, before[role]} for role in ROLES)

    took_s = eventually(are_others, 60, "every certificate is another")
    # A kubelet reads a pod's Secrets again every minute or so, and when the pod changes.
    seen = f"sipgw.io/e2e={time.monotonic_ns()}"
    release.kubectl.run("annotate", "pods", "--overwrite", "-l", release.selector(), seen)
    return took_s + eventually(lambda: _are_served(release), 200, "servers show what is in the Secrets")


def _are_served(release: Release) -> bool:
    for role, port in _SERVERS:
        wanted = certificate_of(release, role)
        try:
            if any(_shown_by(pod, port) != wanted for pod in release.ready_pods(role)):
                return False
        except OSError:
            return False
    return True


def _shown_by(pod: dict[str, Any], port_name: str) -> x509.Certificate:
    (port,) = [p["containerPort"] for p in pod["spec"]["containers"][0]["ports"] if p["name"] == port_name]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # read it, verify nothing
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((pod["status"]["podIP"], port), 5) as plain,
        context.wrap_socket(plain) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)
