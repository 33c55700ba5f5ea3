"""Find or make the cluster that the tests run on, and bring images to its nodes.

The first of these that is there: the kubeconfig that SIPGW_E2E_KUBECONFIG names; a cluster made by kind,
where docker and kind work; the command in SIPGW_E2E_CLUSTER_UP, which prints KUBECONFIG=PATH; on a Debian
machine, as root, e2e/local-cluster/up.sh. Images are brought by kind to its own cluster, and by
e2e/local-cluster/load.sh to that of up.sh; else the command in SIPGW_E2E_IMAGE_LOAD is given archives, and
without it the nodes pull images themselves.
"""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from clusterkit.kubectl import Kubectl, find_program

_LOCAL_CLUSTER = Path(__file__).parents[2] / "local-cluster"
_KIND_NAME = "sipgw-e2e"
_UP_TIMEOUT_S = 1800
_OF_ONE_ARCHIVE = {"repositories", "oci-layout", "index.json"}
"""Name the images of one archive alone; where an index.json is, containerd reads no manifest.json."""
_KIND_CONFIG = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes: [{role: control-plane}, {role: worker}, {role: worker}, {role: worker}]
"""


class NoClusterError(Exception):
    """There is no cluster; the message says how to give one."""


@dataclass(frozen=True)
class Cluster:
    """A cluster whose apiserver responds."""

    kubeconfig: str
    load_command: tuple[str, ...] = ()

    def kubectl(self, namespace: str = "default") -> Kubectl:
        program = find_program("kubectl")
        if program is None:
            raise NoClusterError("kubectl is not on the PATH: install it, or name it in KUBECTL")
        return Kubectl(program, self.kubeconfig, namespace)

    def load(self, archives: list[Path], scratch: Path) -> None:
        """Load the images onto every node, as one archive with each shared layer once."""
        if not self.load_command or not archives:
            return
        together = scratch / "images.tar"
        merge_archives(archives, together)
        subprocess.run([*self.load_command, str(together)], check=True, capture_output=True)
        together.unlink()


def find_cluster(local: Path = _LOCAL_CLUSTER) -> Cluster:
    """Find the named cluster, or make one, at last by the scripts in `local`. Raises NoClusterError."""
    loader = tuple(shlex.split(os.environ.get("SIPGW_E2E_IMAGE_LOAD", "")))
    named = os.environ.get("SIPGW_E2E_KUBECONFIG")
    if named:
        if not Path(named).is_file():
            raise NoClusterError(f"SIPGW_E2E_KUBECONFIG={named} is no file")
        return Cluster(named, loader)
    if shutil.which("kind") and _works(["docker", "info"]):
        return Cluster(_kind(), ("kind", "load", "image-archive", "--name", _KIND_NAME))
    if os.environ.get("SIPGW_E2E_CLUSTER_UP"):
        return Cluster(_started_by(shlex.split(os.environ["SIPGW_E2E_CLUSTER_UP"])), loader)
    if os.geteuid() == 0 and shutil.which("dpkg"):
        return Cluster(_started_by([str(local / "up.sh")]), loader or (str(local / "load.sh"),))
    raise NoClusterError(
        "no cluster: name one in SIPGW_E2E_KUBECONFIG, install kind and docker, give a command that brings "
        "one up in SIPGW_E2E_CLUSTER_UP, or be root on a Debian machine (see e2e/cluster/README.md)"
    )


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _kind() -> str:
    path = Path("out", "e2e", "kind.kubeconfig").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    names = subprocess.run(["kind", "get", "clusters"], check=True, capture_output=True, text=True).stdout
    if _KIND_NAME in names.split():
        subprocess.run(
            ["kind", "export", "kubeconfig", "--name", _KIND_NAME, "--kubeconfig", path], check=True
        )
    else:
        subprocess.run(
            ["kind", "create", "cluster", "--name", _KIND_NAME, "--kubeconfig", path, "--config", "-"],
            check=True,
            input=_KIND_CONFIG,
            text=True,
        )
    return str(path)


def _started_by(command: list[str]) -> str:
    done = subprocess.run(
        command,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_UP_TIMEOUT_S,
    )
    said = re.findall(r"KUBECONFIG=(\S+)", done.stdout)
    if done.returncode != 0 or not said:
        raise NoClusterError(f"{shlex.join(command)} gave no KUBECONFIG=PATH:\n{done.stdout[-2000:]}")
    return said[-1]


def merge_archives(archives: list[Path], out: Path) -> None:
    """Merge docker archives into one, with each layer once."""
    manifest: list[dict[str, object]] = []
    written: set[str] = set()
    with tarfile.open(out, "w") as merged:
        for path in archives:
            with tarfile.open(path) as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isfile() else None
                    if member.name == "manifest.json":
                        assert content is not None
                        manifest += json.load(content)
                    elif member.name not in written and member.name not in _OF_ONE_ARCHIVE:
                        written.add(member.name)
                        merged.addfile(member, content)
        data = json.dumps(manifest).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(data)
        merged.addfile(entry, io.BytesIO(data))
