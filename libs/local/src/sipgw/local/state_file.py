"""The small file of each running `sipgw up`, by which `sipgw calls` finds its registry."""

import json
import os
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """Facts about a gateway on this machine for other commands."""

    pid: int
    pid_created_s: float
    started_s: float
    registry: str
    sip: list[str]


def state_directory() -> Path:
    """Return XDG_RUNTIME_DIR/sipgw, else a directory of this user among the temporary ones."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "sipgw"
    return Path(tempfile.gettempdir()) / f"sipgw-{os.getuid()}"


@contextmanager
def announced(registry: str, sip: list[str]) -> Generator[Path]:
    """Keep the file for the duration of the block."""
    directory = state_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    pid = os.getpid()
    running = RunningGateway(pid, psutil.Process(pid).create_time(), time.time(), registry, sip)
    path = directory / f"up-{pid}.json"
    path.write_text(json.dumps(asdict(running)))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def running_gateways() -> list[RunningGateway]:
    """Return the live gateways of this user, newest first, and remove files of killed ones."""
    directory = state_directory()
    if not directory.is_dir() or directory.stat().st_uid != os.getuid():
        return []
    found: list[RunningGateway] = []
    for path in directory.glob("up-*.json"):
        try:
            running = RunningGateway(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue
        if _lives(running):
            found.append(running)
        else:
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda running: running.started_s, reverse=True)


def _lives(running: RunningGateway) -> bool:
    try:
        return abs(psutil.Process(running.pid).create_time() - running.pid_created_s) < 1.0
    except psutil.Error:
        return False
