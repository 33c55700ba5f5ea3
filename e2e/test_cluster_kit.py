"""The parts of the cluster tests' kit that need no cluster: the choice of one, merging image archives."""

import io
import json
import shlex
import tarfile
from pathlib import Path

import pytest
from clusterkit.cluster import Cluster, NoClusterError, find_cluster, merge_archives

BROUGHT = "/brought/up.kubeconfig"


def saved(path: Path, image: str, layers: dict[str, bytes]) -> Path:
    """Write an archive as `docker save` 25 and later does: an OCI layout with a docker manifest beside it."""
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(
            {"manifests": [{"annotations": {"io.containerd.image.name": image}}]}
        ).encode(),
        "repositories": json.dumps({image: {"latest": "x"}}).encode(),
        "manifest.json": json.dumps([{"RepoTags": [image], "Layers": list(layers)}]).encode(),
        **layers,
    }
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_merged_archives_hold_every_image_and_each_layer_once(tmp_path: Path) -> None:
    base, own, other = "blobs/sha256/base", "blobs/sha256/edge", "blobs/sha256/relay"
    archives = [
        saved(tmp_path / "edge.tar", "sipgw/edge:1", {base: b"base", own: b"edge"}),
        saved(tmp_path / "relay.tar", "sipgw/relay:1", {base: b"base", other: b"relay"}),
    ]
    merge_archives(archives, tmp_path / "both.tar")
    with tarfile.open(tmp_path / "both.tar") as merged:
        files = {member.name: merged.extractfile(member) for member in merged}
        contents = {name: file.read() for name, file in files.items() if file is not None}
        names = merged.getnames()
    assert len(names) == len(set(names))
    manifest = contents.pop("manifest.json")
    assert [image["RepoTags"] for image in json.loads(manifest)] == [["sipgw/edge:1"], ["sipgw/relay:1"]]
    # No index.json: containerd would read it and see only the images of the one archive that it names.
    assert contents == {base: b"base", own: b"edge", other: b"relay"}


class Machine:
    """A machine with chosen programs on its PATH, and a command that brings a cluster up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._bin = folder / "bin"
        self._bin.mkdir()
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", str(self._bin))
        for name in ("KUBECONFIG", "IMAGE_LOAD", "CLUSTER_UP"):
            monkeypatch.delenv(f"SIPGW_E2E_{name}", raising=False)

    def has(self, *programs: str, exit_status: int = 0) -> None:
        for program in programs:
            path = self._bin / program
            path.write_text(f"#!/bin/sh\nexit {exit_status}\n")
            path.chmod(0o755)

    def sets(self, name: str, value: str) -> None:
        self._monkeypatch.setenv(f"SIPGW_E2E_{name}", value)

    def is_debian(self, *, as_root: bool) -> Path:
        """Return a folder of scripts like those of e2e/local-cluster."""
        self.has("dpkg")
        self._monkeypatch.setattr("os.geteuid", lambda: 0 if as_root else 1000)
        up = self._bin.parent / "up.sh"
        up.write_text(f"#!/bin/sh\necho ready: export KUBECONFIG={BROUGHT}\n")
        up.chmod(0o755)
        return up.parent

    def can_bring_up(self) -> None:
        self.sets("CLUSTER_UP", shlex.join(["/bin/echo", f"KUBECONFIG={BROUGHT}"]))
        self.sets("IMAGE_LOAD", "load --all")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_a_named_cluster_comes_before_kind_and_the_command(machine: Machine, tmp_path: Path) -> None:
    machine.has("kind", "docker")
    machine.can_bring_up()
    named = tmp_path / "named.kubeconfig"
    named.touch()
    machine.sets("KUBECONFIG", str(named))
    assert find_cluster() == Cluster(str(named), ("load", "--all"))


def test_a_named_file_that_is_not_there_is_no_reason_for_another_cluster(machine: Machine) -> None:
    machine.has("kind", "docker")
    machine.sets("KUBECONFIG", "/no/such.kubeconfig")
    with pytest.raises(NoClusterError, match="no file"):
        find_cluster()


def test_kind_with_docker_comes_before_the_command_and_brings_images_itself(
    machine: Machine, tmp_path: Path
) -> None:
    machine.has("kind", "docker")
    machine.can_bring_up()
    found = find_cluster()
    assert found.kubeconfig == str(tmp_path / "out" / "e2e" / "kind.kubeconfig")
    assert found.load_command[:3] == ("kind", "load", "image-archive")


@pytest.mark.parametrize("lacking", ["kind", "docker", "the docker daemon"])
def test_the_command_serves_where_kind_or_docker_does_not(machine: Machine, lacking: str) -> None:
    machine.has(*{"kind", "docker"} - {lacking})
    if lacking == "the docker daemon":
        machine.has("docker", exit_status=1)
    machine.can_bring_up()
    assert find_cluster() == Cluster(BROUGHT, ("load", "--all"))


def test_on_debian_as_root_the_repositorys_own_cluster_is_the_last_resort(machine: Machine) -> None:
    local = machine.is_debian(as_root=True)
    assert find_cluster(local) == Cluster(BROUGHT, (str(local / "load.sh"),))
    machine.can_bring_up()
    assert find_cluster(local) == Cluster(BROUGHT, ("load", "--all"))


def test_the_repositorys_own_cluster_needs_root(machine: Machine) -> None:
    with pytest.raises(NoClusterError, match="be root"):
        find_cluster(machine.is_debian(as_root=False))


def test_without_any_it_says_what_would_do(machine: Machine) -> None:
    with pytest.raises(NoClusterError, match=r"SIPGW_E2E_KUBECONFIG.*kind.*SIPGW_E2E_CLUSTER_UP"):
        find_cluster()
