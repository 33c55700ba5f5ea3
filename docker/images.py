"""Build the images, save them to build/images/NAME.tar with their bills of materials, print their sizes.

With docker, podman or buildah, whichever works here ($SIPGW_IMAGE_BUILDER to choose; where none does and apt
is at hand, buildah is installed). On the Python image that docker/Dockerfile names ($SIPGW_BASE_IMAGE for
another); where that can't be pulled, on a base that docker/base.sh makes from Debian packages. Standard
library only.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "images"
TARGETS = ("edge", "relay", "registry", "operator", "tools", "redis")
_PULL_TIMEOUT_S = 60
_REDIS_TAG = "7.0"  # Debian's; the chart names it, so that a release of ours does not restart Redis
_SBOM = "usr/share/sipgw/sbom.cdx.json"


class ImagesError(Exception):
    """An image can't be built; the message says what to do about it."""


@dataclass(frozen=True)
class Builder:
    """One of the three tools, and the options that tell it where to find its files."""

    name: str
    options: tuple[str, ...] = ()

    def run(self, *arguments: str, timeout_s: float | None = None, quiet: bool = False) -> bool:
        out = subprocess.DEVNULL if quiet else sys.stderr
        environment = os.environ | ({"BUILDAH_ISOLATION": "chroot"} if self.name == "buildah" else {})
        command = [self.name, *self.options, *arguments]
        try:
            done = subprocess.run(
                command, check=False, stdout=out, stderr=out, env=environment, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def has(self, image: str) -> bool:
        return self.run("inspect", "--type", "image", image, quiet=True)

    def build(self, *arguments: str) -> None:
        layers = ("--layers",) if self.name in {"buildah", "podman"} else ()
        if not self.run("build", *layers, *arguments):
            raise ImagesError(f"{self.name} build {' '.join(arguments)} failed; its words are above")

    def save(self, image: str, path: Path) -> None:
        path.unlink(missing_ok=True)
        if self.name == "buildah":
            saved = self.run("push", "--quiet", image, f"docker-archive:{path}:{image}")
        else:
            saved = self.run("save", "--output", str(path), image)
        if not saved:
            raise ImagesError(f"{self.name} could not save {image} to {path}")


def find_builder() -> Builder:
    """Find the first tool that works: docker needs its daemon, buildah a storage driver."""
    wanted = os.environ.get("SIPGW_IMAGE_BUILDER")
    for name in [wanted] if wanted else ["docker", "podman", "buildah"]:
        if shutil.which(name) is not None and (found := _working(name)) is not None:
            return found
    if wanted not in {None, "buildah"} or os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ImagesError(f"{wanted or 'none of docker, podman and buildah'} works here: install one of them")
    print("installing buildah", file=sys.stderr)
    if subprocess.run([ROOT / "scripts" / "apt-install.sh", "buildah"], check=False).returncode != 0:
        raise ImagesError("buildah could not be installed; apt's words are above")
    found = _working("buildah")
    if found is None:
        raise ImagesError("buildah was installed and does not work here: see `buildah info`")
    return found


def _working(name: str) -> Builder | None:
    drivers = [("--storage-driver", driver) for driver in ("overlay", "vfs")] if name == "buildah" else [()]
    for options in drivers:
        builder = Builder(name, options)
        if builder.run("info", quiet=True, timeout_s=30):
            return builder
    return None


def find_bases(builder: Builder) -> tuple[str, str]:
    """Find the images that service and builder stages are built on."""
    named = os.environ.get("SIPGW_BASE_IMAGE") or pinned_base()
    if builder.has(named) or builder.run("pull", named, quiet=True, timeout_s=_PULL_TIMEOUT_S):
        return named, named
    if "SIPGW_BASE_IMAGE" in os.environ:
        raise ImagesError(f"{named} ($SIPGW_BASE_IMAGE) can't be pulled")
    print(f"{named} can't be pulled here: making a base from Debian packages", file=sys.stderr)
    return local_base(builder, "run"), local_base(builder, "build")


def pinned_base() -> str:
    for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines():
        if line.startswith("ARG BASE="):
            return line.removeprefix("ARG BASE=")
    raise AssertionError("docker/Dockerfile names no base")


def local_base(builder: Builder, kind: str) -> str:
    """Make the base once for each version of base.sh, and keep it as an image."""
    script = ROOT / "docker" / "base.sh"
    image = f"localhost/sipgw-base-{kind}:{hashlib.sha256(script.read_bytes()).hexdigest()[:12]}"
    if not builder.has(image):
        folder = OUT / "base" / kind
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([str(script), kind, str(folder / "base.tar")], check=True)
        (folder / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        builder.build("--quiet", "--tag", image, str(folder))
        (folder / "base.tar").unlink()
    return image


def build(builder: Builder, target: str, bases: tuple[str, str], version: str) -> str:
    image = f"sipgw/{target}:{_REDIS_TAG if target == 'redis' else version}"
    options = ["--build-arg", f"BASE={bases[0]}", "--build-arg", f"BUILD_BASE={bases[1]}"]
    options += ["--build-arg", f"VERSION={version}"]
    authorities = os.environ.get("SSL_CERT_FILE", "")
    if authorities:
        options += ["--secret", f"id=ca,src={authorities}"]
    builder.build(
        *("--quiet", "--target", target, "--tag", image, *options),
        *("--file", str(ROOT / "docker" / "Dockerfile"), str(ROOT)),
    )
    return image


def is_here(target: str) -> bool:
    """Whether this tree has the service of that image."""
    return target != "operator" or (ROOT / "operator" / "pyproject.toml").exists()


def extract_sbom(archive: Path) -> bytes:
    """Read the bill of materials from an image's archive, where it is in one of the last layers."""
    with tarfile.open(archive) as image:
        manifest = json.load(_member(image, "manifest.json"))
        for layer in reversed(manifest[0]["Layers"]):
            with tarfile.open(fileobj=io.BytesIO(_member(image, layer).read())) as files:
                if _SBOM in files.getnames():
                    return _member(files, _SBOM).read()
    raise ImagesError(f"{archive} holds no bill of materials")


def _member(archive: tarfile.TarFile, name: str) -> io.BufferedReader:
    found = archive.extractfile(name)
    assert found is not None
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "targets", nargs="*", default=[], metavar="TARGET", help=f"of {', '.join(TARGETS)} [all]"
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parser.add_argument("--version", default=project["version"], help="the images' tag [%(default)s]")
    parser.add_argument("--out", type=Path, default=OUT, help="where the archives go [build/images]")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    try:
        builder = find_builder()
        bases = find_bases(builder)
        print(f"with {' '.join([builder.name, *builder.options])} on {bases[0]}")
        for target in filter(is_here, options.targets or TARGETS):
            image, archive = build(builder, target, bases, options.version), options.out / f"{target}.tar"
            builder.save(image, archive)
            bill = extract_sbom(archive)
            (options.out / f"{target}.cdx.json").write_bytes(bill)
            size, parts = archive.stat().st_size / 1e6, len(json.loads(bill)["components"])
            print(f"{image:<36} {size:6.0f} MB  {parts:3} components")
    except ImagesError as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"in {options.out}, {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
