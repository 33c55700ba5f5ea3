"""Tests against a real Kubernetes: the cluster of SIPGW_E2E_KUBECONFIG, reached by kubectl alone."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_TIMEOUT_S = 30


@dataclass(frozen=True)
class Answer:
    """What kubectl said."""

    status: int
    out: str
    error: str


@dataclass(frozen=True)
class Kubectl:
    """kubectl of one cluster and, where given, one namespace."""

    program: str
    kubeconfig: str
    namespace: str = "default"

    def ask(self, *arguments: str, text: str | None = None) -> Answer:
        """Runs it; a failure is an answer."""
        command = [self.program, "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *arguments]
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def run(self, *arguments: str, text: str | None = None) -> str:
        """Runs it; a failure fails the test."""
        answer = self.ask(*arguments, text=text)
        assert answer.status == 0, f"kubectl {' '.join(arguments)}: {answer.error}"
        return answer.out


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    path = os.environ.get("SIPGW_E2E_KUBECONFIG")
    if not path:
        pytest.skip("SIPGW_E2E_KUBECONFIG names no cluster's kubeconfig")
    if not Path(path).is_file():
        pytest.fail(f"SIPGW_E2E_KUBECONFIG={path} is no file")
    return path


@pytest.fixture(scope="session")
def kubectl_program() -> str:
    beside = Path.home() / ".cache" / "kc" / "bin" / "kubectl"
    found = os.environ.get("KUBECTL") or shutil.which("kubectl") or (str(beside) if beside.exists() else None)
    if found is None:
        pytest.skip("kubectl is not on the PATH")
    return found


@pytest.fixture(scope="module")
def kubectl(kubeconfig: str, kubectl_program: str) -> Iterator[Kubectl]:
    """kubectl in a namespace of the module's own."""
    namespace = f"sipgw-test-{uuid.uuid4().hex[:8]}"
    kubectl = Kubectl(kubectl_program, kubeconfig, namespace)
    kubectl.run("create", "namespace", namespace)
    yield kubectl
    kubectl.run("delete", "namespace", namespace, "--wait=false")
