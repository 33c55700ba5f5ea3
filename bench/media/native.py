"""Compile the callers and the floor for this machine."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SOURCES: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Native:
    """The compiled programs."""

    callers: Path
    floor: Path


def compile_programs(folder: Path) -> Native:
    """Compile the programs into the folder. Ends the bench, with the cure, where that is impossible."""
    compiler = os.environ.get("CC") or "cc"
    if shutil.which(compiler) is None:
        raise SystemExit(
            f"no C compiler ({compiler}): the callers and the floor of this bench are C programs; install "
            "one (Debian: apt-get install gcc libc6-dev), or name yours: CC=clang make bench-media"
        )
    return Native(_compile(compiler, "callers", folder), _compile(compiler, "floor", folder))


def _compile(compiler: str, name: str, folder: Path) -> Path:
    program = folder / name
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", program, _SOURCES / f"{name}.c", "-lm"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{compiler} could not compile {name}.c (it needs Linux and the C library's headers, "
            f"Debian: libc6-dev):\n{done.stderr}"
        )
    return program
