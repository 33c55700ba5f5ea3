"""redis_root.py DEST: make a tree of Debian's Redis and the libraries it loads, to put on the base image.

The records of the packages they come from go along for scanners and the SBOM, one file each in dpkg/status.d.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

SERVER, CLIENT = Path("/usr/bin/redis-server"), Path("/usr/bin/redis-cli")
LOADER = Path("/lib64/ld-linux-x86-64.so.2")
DPKG = Path("/var/lib/dpkg")


def loaded_by(program: Path) -> list[Path]:
    """List the libraries that the loader finds for a program."""
    loader = LOADER if LOADER.exists() else next(Path("/lib").glob("ld-linux-*"))
    shown = subprocess.run([str(loader), "--list", str(program)], check=True, capture_output=True, text=True)
    return [Path(found) for found in re.findall(r"=> (/\S+)", shown.stdout)]


def owners(files: Iterable[Path], dpkg: Path) -> set[str]:
    """Find the packages of these files. A package may list them under /lib, which is /usr/lib today."""
    wanted = {(path.name, path.resolve()) for path in files}
    names = {name for name, _ in wanted}
    found: set[str] = set()
    for listing in (dpkg / "info").glob("*.list"):
        held = (Path(line) for line in listing.read_text().splitlines() if line.rpartition("/")[2] in names)
        if any((path.name, path.resolve()) in wanted for path in held):
            found.add(listing.stem.partition(":")[0])
    return found


def records(packages: set[str], dpkg: Path) -> dict[str, str]:
    """Return each package's entry in dpkg's status file."""
    every = (dpkg / "status").read_text().strip().split("\n\n")
    named = {re.findall(r"^Package: (\S+)$", record, re.MULTILINE)[0]: record for record in every}
    return {name: f"{named[name]}\n" for name in packages}


def main(destination: str) -> None:
    if not SERVER.exists():  # a base from a registry: apt is there
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        wanted = ["--no-install-recommends", "redis-server"]
        subprocess.run(["apt-get", "-qq", "install", "-y", *wanted], check=True)
    files = [path for program in (SERVER, CLIENT) for path in (program, *loaded_by(program))]
    for path in files:
        target = Path(destination + str(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    folder = Path(destination + str(DPKG), "status.d")
    folder.mkdir(parents=True)
    for name, record in records(owners(files, DPKG), DPKG).items():
        (folder / name).write_text(record)


if __name__ == "__main__":
    main(sys.argv[1])
