"""The images that `make images` built: their user, what they must not hold, their bills of materials."""

import io
import json
import os
import re
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from clusterkit.release import ROOT

sys.path.insert(0, str(ROOT / "docker"))

from images import TARGETS
from members import distributions, members_of

from sipgw.rtp.kernels.library import digest

pytestmark = pytest.mark.skipif("SIPGW_E2E" not in os.environ, reason="make e2e builds the images first")

_TOOLS = re.compile(
    r"(^|/)bin/(pip[\d.]*|uv|gcc[^/]*|cc|make|dpkg-buildpackage)$|/(pip|ensurepip)/__init__\.py$"
)


@dataclass
class Image:
    """An archive's configuration, the names of its files, and its bill of materials."""

    config: dict[str, Any]
    files: set[str] = field(default_factory=set)
    bill: dict[str, Any] = field(default_factory=dict)

    def components(self, kind: str) -> set[str]:
        """Return the names of components whose reference begins with a prefix."""
        return {one["name"] for one in self.bill["components"] if one["bom-ref"].startswith(f"{kind}/")}


def read(archive: Path) -> Image:
    with tarfile.open(archive) as outer:

        def content(name: str) -> bytes:
            file = outer.extractfile(name)
            assert file is not None
            return file.read()

        (manifest,) = json.loads(content("manifest.json"))
        image = Image(json.loads(content(manifest["Config"]))["config"])
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(content(name))) as layer:
                _lay_on(image, layer)
    return image


def _lay_on(image: Image, layer: tarfile.TarFile) -> None:
    """Lay a layer on the layers below: a name that begins with .wh. removes one of their files or folders."""
    members = layer.getmembers()
    for member in members:
        folder, _, name = member.name.rpartition("/")
        if name.startswith(".wh."):
            gone = f"{folder}/{name.removeprefix('.wh.')}"
            image.files -= {one for one in image.files if one == gone or one.startswith(f"{gone}/")}
    for member in members:
        image.files.add(member.name)
        if member.name == "usr/share/sipgw/sbom.cdx.json":
            file = layer.extractfile(member)
            assert file is not None
            image.bill = json.load(file)


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def image(target: str) -> Image:
    archive = ROOT / "build" / "images" / f"{target}.tar"
    if not archive.exists():
        pytest.skip(f"no {archive.relative_to(ROOT)}: the nodes have their images from elsewhere")
    return read(archive)


def test_it_runs_as_nobody_in_particular(image: Image) -> None:
    assert image.config["User"] == "65532:65532"


def test_nothing_inside_installs_or_compiles(image: Image) -> None:
    assert any(name.startswith("usr/") for name in image.files)
    assert {name for name in image.files if _TOOLS.search(name)} == set()


def test_the_relay_has_its_machine_code_and_no_compiler(image: Image, target: str) -> None:
    packages = ("sipgw.rtp.kernels", "sipgw.media_relay.kernels") if target == "relay" else ()
    wanted = {f"{package.replace('.', '/')}/compiled/{digest(package)}.o" for package in packages}
    ours = {name for name in image.files if name.endswith(".o") and "/sipgw/" in name}
    assert {name.partition("site-packages/")[2] for name in ours} == wanted
    assert image.components("pypi") & {"numba", "llvmlite"} == set()


def test_the_bill_names_what_the_image_is_for_and_the_python_below(image: Image, target: str) -> None:
    if target == "redis":
        assert image.components("deb") >= {"redis-server", "redis-tools", "libc6", "libssl3", "libjemalloc2"}
        assert image.components("pypi") == set()
    else:
        ours = {name for name in image.components("pypi") if name.startswith("sipgw-")}
        assert ours == members_of(target, distributions())
        assert image.components("pypi") > ours
    interpreters = {"python3.11-minimal"} & image.components("deb") | image.components("generic")
    assert len(interpreters) == 1
