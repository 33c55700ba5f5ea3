"""Ports for tests: ports of this machine that no other test process has taken.

Tests run in several processes, often of several checkouts at once. A port that is merely free when it is
checked may be taken twice before its first user binds it. So each port is locked, as the byte of its number
in one file that all test processes of a user share; the system drops the locks of a process that ends.
"""

import fcntl
import os
import random
import socket
import tempfile
import threading
from pathlib import Path
from typing import Final

# Below the range that Linux gives to outgoing sockets (32768 and above). Single ports are kept apart:
# scattered among the ranges they would leave no room for one.
_SINGLES: Final = range(10_000, 13_000)
_RANGES: Final = range(13_000, 32_000)


class PortLedger:
    """The ports taken by this process, and the file that tells other processes of them."""

    def __init__(self, path: Path) -> None:
        # The file is opened once per process: closing any other descriptor of it would drop the locks.
        self._file = path.open("a+b")
        self._given: set[int] = set()
        self._mutex = threading.Lock()

    def take(self, size: int, among: range) -> int:
        """Take `size` ports in a row that are free for UDP and TCP; return the first, an even one.

        Raises RuntimeError when there is no such row.
        """
        with self._mutex:
            return self._take(size, among)

    def _take(self, size: int, among: range) -> int:
        starts = range(among.start, among.stop - size, 2)
        for first in random.sample(starts, len(starts)):
            ports = range(first, first + size)
            if not self._given.isdisjoint(ports) or not self._lock(first, size):
                continue
            if all(_is_free(port) for port in ports):
                self._given.update(ports)
                return first
            self._unlock(first, size)
        raise RuntimeError(f"no {size} free ports in a row between {among.start} and {among.stop}")

    def give_back(self, first: int, size: int) -> None:
        """Let others have these ports: their user has ended."""
        with self._mutex:
            self._given.difference_update(range(first, first + size))
            self._unlock(first, size)

    def close(self) -> None:
        """Give everything back."""
        self._file.close()
        self._given.clear()

    def _lock(self, first: int, size: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, size, first)
        except OSError:
            return False
        return True

    def _unlock(self, first: int, size: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, size, first)


_ledger: PortLedger | None = None


def _shared() -> PortLedger:
    global _ledger  # noqa: PLW0603 - one a process, opened when the first port is wanted
    if _ledger is None:
        _ledger = PortLedger(Path(tempfile.gettempdir(), f"sipgw-test-ports-{os.getuid()}"))
    return _ledger


def free_port() -> int:
    """Take a port that is free for UDP and TCP on all addresses."""
    return _shared().take(1, _SINGLES)


def free_range(size: int) -> int:
    """Take `size` ports in a row; return the first, an even one."""
    return _shared().take(size, _RANGES)


def give_back(first: int, size: int) -> None:
    """Let others have these ports: their user has ended."""
    _shared().give_back(first, size)


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True
