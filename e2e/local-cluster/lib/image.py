"""Pack files into an image archive of one layer, as `ctr images import` takes it. Needs no daemon.

image.py OUT.tar NAME:TAG ROOT_DIRECTORY|FILE=DESTINATION... [--entrypoint PROGRAM ARGUMENT...]
"""

import argparse
import hashlib
import io
import json
import tarfile
from pathlib import Path

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("name")
    parser.add_argument("contents", nargs="+", help="a root directory, or FILE=DESTINATION")
    parser.add_argument("--entrypoint", nargs="+", required=True)
    arguments = parser.parse_args()
    layer = arguments.out.with_suffix(".layer")
    _write_layer(layer, arguments.contents)
    _write_archive(arguments.out, arguments.name, layer, arguments.entrypoint)
    layer.unlink()


def _write_layer(path: Path, contents: list[str]) -> None:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as layer:
        for item in contents:
            source, is_file, destination = item.partition("=")
            if is_file:
                member = _reproducible(layer.gettarinfo(source, destination.lstrip("/")))
                member.mode = 0o755
                member.uid = member.gid = 0
                with Path(source).open("rb") as file:
                    layer.addfile(member, file)
            else:
                layer.add(source, ".", filter=_reproducible)


def _reproducible(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 0
    return member


def _write_archive(path: Path, name: str, layer: Path, entrypoint: list[str]) -> None:
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2020-01-01T00:00:00Z",
            "config": {"Env": [_PATH], "Entrypoint": entrypoint},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, config_name, config)
        archive.add(layer, "layer.tar")
        _add(archive, "manifest.json", manifest)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main()
