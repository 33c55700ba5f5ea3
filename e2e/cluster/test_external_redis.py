"""The release on a Redis of the user's own, by the commands of docs/how-to/external-redis.md.

It needs a password, and its certificate is signed by a CA of its own.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusterkit.callers import Callers
from clusterkit.commands import Commands
from clusterkit.kubectl import eventually
from clusterkit.release import ROOT, Release, is_ready
from clusterkit.report import Report
from gatewaykit.howto import HowTo

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400, func_only=True)]
NAME = "own-redis"
PORT = 6380
_SERVE = (
    *("redis-server", "--port", "0", "--tls-port", str(PORT), "--tls-auth-clients", "no"),
    *(
        "--requirepass",
        "secret",
        "--tls-cert-file",
        "/tls/tls.crt",
        "--tls-key-file",
        "/tls/tls.key",
        "--dir",
        "/tmp",
    ),
)
_ASK = ("redis-cli", "--tls", "--insecure", "-p", str(PORT), "-a", "secret", "--no-auth-warning")


@pytest.fixture
def own_redis(release: Release, tmp_path: Path) -> Iterator[str]:
    """Run a Redis; return its host and port, as pods reach it. Its CA is `ca.crt` in `tmp_path`."""
    kubectl = release.kubectl
    host = f"{NAME}.{kubectl.namespace}.svc"
    _make_certificate(host, tmp_path)
    try:
        files = (f"--cert={tmp_path / 'ca.crt'}", f"--key={tmp_path / 'tls.key'}")
        kubectl.run("create", "secret", "tls", NAME, *files)
        kubectl.apply(*_manifests())
        eventually(lambda: is_ready(kubectl.get("pod", NAME)), 60, "a Redis of our own is ready")
        yield f"{host}:{PORT}"
    finally:
        release.upgrade_to_others("edge")  # back to the release's own
        eventually(lambda: release.ready_pods("redis"), 60, "the release's own Redis is ready")
        kubectl.run("delete", "pod,service", NAME, "--ignore-not-found")
        kubectl.run("delete", "secret", NAME, "redis-url", "redis-ca", "--ignore-not-found")


def _make_certificate(host: str, directory: Path) -> None:
    new_key = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    )
    names = ("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{host}", "-days", "2")
    files = ("-keyout", "tls.key", "-out", "ca.crt")
    subprocess.run([*new_key, *names, *files], cwd=directory, check=True, capture_output=True)


def _manifests() -> list[dict[str, Any]]:
    container = {
        "name": "redis",
        "image": "sipgw/redis:7.0",
        "imagePullPolicy": "IfNotPresent",
        "command": list(_SERVE),
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    volume = {"name": "tls", "secret": {"secretName": NAME}}
    labels = {"app": NAME}
    pod = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 0}
    service = {"selector": labels, "ports": [{"port": PORT}]}
    return [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": NAME, "labels": labels}, "spec": spec}
        for kind, spec in (("Pod", pod), ("Service", service))
    ]


def test_a_redis_of_ones_own_serves_the_release(
    release: Release, own_redis: str, tmp_path: Path, report: Report
) -> None:
    (tmp_path / "charts").symlink_to(ROOT / "charts")
    before = {pod["metadata"]["uid"] for pod in release.pods("edge")}
    commands = Commands(release.kubectl, tmp_path)
    for step in HowTo.read("external-redis").steps_of("In the cluster"):
        commands.run(step.command.replace("redis.example.net:6380", own_redis), tmp_path)
    took_s = release.wait_others("edge", before)
    eventually(lambda: not release.pods("redis"), 60, "the release's own Redis is gone")
    release.wait_ready()
    with Callers(release.edges()) as callers:
        callers.dial(4)
        callers.mark()
        callers.rest(2)
        findings = callers.findings()
        report.add("docs: a Redis of one's own, TLS and password", findings, f"rolled in {took_s:.0f} s")
        assert findings.lost == 0, findings.why_lost
        assert len(release.calls()) == 4
        keys = release.kubectl.run("exec", NAME, "--", *_ASK, "keys", "sipgw:*")
        assert "sipgw:" in keys
