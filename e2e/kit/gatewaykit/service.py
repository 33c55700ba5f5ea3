"""A process under test, with a log of its own. It is ready when the log says so; tests stop or kill it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from sipgw.runtime.patience import patient

_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 15.0
_TAIL_LINES = 40


class ServiceFailed(Exception):
    """A process did not start, or died; the text ends with the tail of its log."""


class Service:
    """One process. `ready` holds the fields of its ready line."""

    def __init__(
        self, name: str, argv: Sequence[str | Path], directory: Path, *, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.ready: dict[str, Any] = {}
        self.argv = [str(part) for part in argv]
        self._env = {**os.environ, **(env or {})}
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._mark = 0

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def rss_mib(self) -> float:
        """Return the resident memory."""
        return psutil.Process(self.pid).memory_info().rss / 2**20

    def start(self) -> None:
        """Start and wait for the ready line."""
        begin = self.log_size()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._env
            )
        deadline = time.monotonic() + patient(_READY_TIMEOUT_S)
        while True:
            for line in self.lines(begin):
                if line.get("event") == "ready":
                    self.ready = line
                    return
            if not self.is_running:
                raise ServiceFailed(f"{self.name} ended with {self.exit_status}:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceFailed(f"{self.name} was not ready in {_READY_TIMEOUT_S:g} s:\n{self.tail()}")
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP freezes, SIGCONT thaws."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None and self.is_running:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """Send SIGTERM and return the exit status; a process that does not end in time is killed: -9."""
        if self._process is None:
            return 0
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(patient(_STOP_TIMEOUT_S))
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def log_size(self) -> int:
        """Return the log's size, for `lines`."""
        return self._log.stat().st_size if self._log.exists() else 0

    def mark(self) -> None:
        """Let `tail` begin here."""
        self._mark = self.log_size()

    def lines(self, begin: int = 0) -> Iterator[dict[str, Any]]:
        """Return the log's JSON lines from `begin` on."""
        for text in self.text(begin).splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line

    def text(self, begin: int = 0) -> str:
        """Return the log from `begin` on."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    def tail(self) -> str:
        """Return the last lines since `mark`."""
        return "\n".join(self.text(self._mark).splitlines()[-_TAIL_LINES:])
