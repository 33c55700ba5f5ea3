"""Runs the documents' commands as they are written, with `helm`, `kubectl` and `sipgw` on the PATH."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from clusterkit.kubectl import Kubectl
from clusterkit.release import HELM, ROOT

_TIMEOUT_S = 300


class Commands:
    """Runs in the namespace of `kubectl` where the documents say `sipgw`. `scratch` is its own directory."""

    def __init__(self, kubectl: Kubectl, scratch: Path) -> None:
        self._namespace = kubectl.namespace
        programs = scratch / "bin"
        programs.mkdir()
        (programs / "helm").write_text(f'#!/bin/sh\nPATH="{os.environ["PATH"]}" exec {HELM} "$@"\n')
        (programs / "helm").chmod(0o755)
        config = scratch / "kubeconfig"
        shutil.copy(kubectl.kubeconfig, config)
        self._environment = os.environ | {
            "PATH": os.pathsep.join(
                [
                    str(programs),
                    str(Path(kubectl.program).parent),
                    str(Path(sys.executable).parent),
                    os.environ["PATH"],
                ]
            ),
            "KUBECONFIG": str(config),
        }
        self.run(f"kubectl config set-context --current --namespace {kubectl.namespace}")

    def run(self, text: str, directory: Path = ROOT) -> str:
        """Run commands, which have to succeed; return what they printed."""
        text = re.sub(r"--namespace sipgw\b(?!-)", f"--namespace {self._namespace}", text)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr
