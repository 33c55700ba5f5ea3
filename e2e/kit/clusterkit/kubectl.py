"""kubectl of one cluster and one namespace, as a person runs it."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_TIMEOUT_S = 60
_POLL_S = 0.5


@dataclass(frozen=True)
class Answer:
    """The exit status and output of a kubectl."""

    status: int
    out: str
    error: str


def find_program(name: str) -> str | None:
    """Find a program by $KUBECTL or $HELM, on the PATH, or beside a local cluster's components."""
    beside = Path(os.environ.get("KC_DIR", Path.home() / ".cache" / "kc"), "bin", name)
    return os.environ.get(name.upper()) or shutil.which(name) or (str(beside) if beside.exists() else None)


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl; objects are dicts."""

    program: str
    kubeconfig: str
    namespace: str = "default"

    def within(self, namespace: str) -> "Kubectl":
        return replace(self, namespace=namespace)

    def ask(self, *arguments: str, text: str | None = None, timeout_s: float = _TIMEOUT_S) -> Answer:
        """Run kubectl and return its answer, also when it failed."""
        command = self._command(*arguments)
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def run(self, *arguments: str, text: str | None = None, timeout_s: float = _TIMEOUT_S) -> str:
        """Run kubectl and return its output; a failure fails the test."""
        answer = self.ask(*arguments, text=text, timeout_s=timeout_s)
        assert answer.status == 0, f"kubectl {' '.join(arguments)}: {answer.error}"
        return answer.out

    def apply(self, *documents: dict[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.run("apply", "-f", "-", text=json.dumps(items))

    def get(self, *arguments: str) -> dict[str, Any]:
        return json.loads(self.run("get", *arguments, "-o", "json"))

    @contextmanager
    def watch(self, *arguments: str, out: Path) -> Iterator[None]:
        """Run `get --watch` during the block; its output is in `out`."""
        with (
            out.open("wb") as file,
            subprocess.Popen(self._command("get", "--watch", *arguments), stdout=file) as process,
        ):
            try:
                yield
            finally:
                process.terminate()

    def _command(self, *arguments: str) -> tuple[str, ...]:
        return (self.program, "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *arguments)

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        options = ("-l", selector) if selector else ()
        return json.loads(self.run("get", kind, *options, "-o", "json"))["items"]


def eventually(
    condition: Callable[[], object], timeout_s: float, what: str, *, every_s: float = _POLL_S
) -> float:
    """Wait until `condition` returns something true; return the seconds. Fails with `what` it waited for.

    A kubectl costs 0.1 s of CPU: ask less often (`every_s`) where gaps are measured on a small machine.
    """
    began = time.monotonic()
    last: object = None
    while time.monotonic() - began < timeout_s:
        last = condition()
        if last:
            return time.monotonic() - began
        time.sleep(every_s)
    raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {last!r})")
