"""One service of the gateway as a process: its command, its readiness, its end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import IO

from sipgw.local.errors import ServiceFailed
from sipgw.local.guard import RUN_VARIABLE, STAGE_VARIABLE
from sipgw.local.service_log import LogLine, ServiceLog
from sipgw.runtime.patience import patient

_READY_POLL_S = 0.02


class Stage(IntEnum):
    """The order in which a gateway ends; it starts the other way round."""

    EDGE = 0
    RELAY = 1
    BOT = 2
    REGISTRY = 3
    REDIS = 4


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A process to run. `{name}` in the command stands for the entry of that name in `binds`.

    A bind with port 0 becomes the real address once the service has logged it in its ready line, so that a
    service started again after a crash keeps the address that the others know.
    """

    name: str
    stage: Stage
    command: tuple[str, ...]
    binds: Mapping[str, str] = field(default_factory=dict[str, str])
    # For programs that log no ready line: polled every 20 ms.
    is_ready: Callable[[], bool] | None = None
    ready_timeout_s: float = 30.0
    stop_timeout_s: float = 10.0


class ServiceProcess:
    """A running ServiceSpec. Start it again with `start` after it has ended; addresses stay."""

    def __init__(self, spec: ServiceSpec, run_id: str, log_directory: Path) -> None:
        self.spec = spec
        self.log = ServiceLog(log_directory / f"{spec.name}.log")
        self.binds: dict[str, str] = dict(spec.binds)
        self._run_id = run_id
        self._process: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, on_lines: Callable[[list[LogLine]], None]) -> None:
        """Run the process and return when it is ready. Raises ServiceFailed."""
        command = [part.format_map(self.binds) if "{" in part else part for part in self.spec.command]
        environment = os.environ | {
            RUN_VARIABLE: self._run_id,
            STAGE_VARIABLE: str(int(self.spec.stage)),
            "PYTHONUNBUFFERED": "1",
        }
        try:
            with _append_to(self.log.path) as log:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # Ctrl-C in the terminal goes to the supervisor alone
                )
        except OSError as error:
            raise ServiceFailed(self.name, f"cannot run {command[0]}: {error.strerror}") from error
        timeout_s = patient(self.spec.ready_timeout_s)
        try:
            await asyncio.wait_for(self._become_ready(on_lines), timeout_s)
        except TimeoutError as error:
            await self.kill()
            reason = f"not ready after {timeout_s:.3g} s; {self.log.last_words()}"
            raise ServiceFailed(self.name, f"{reason} (log: {self.log.path})") from error
        except BaseException:
            await self.kill()
            raise

    async def _become_ready(self, on_lines: Callable[[list[LogLine]], None]) -> None:
        while True:
            has_ended = not self.is_running  # checked before reading, so that the last lines are seen
            lines = self.log.read_new()
            on_lines(lines)
            for line in lines:
                if self.spec.is_ready is None and line.event == "ready" and line.record is not None:
                    self._learn(line.record)
                    return
            if has_ended:
                raise ServiceFailed(
                    self.name, self.log.last_words() if self.log.tail else f"it {await self.wait()}"
                )
            if self.spec.is_ready is not None and self.spec.is_ready():
                return
            await asyncio.sleep(_READY_POLL_S)

    def _learn(self, record: Mapping[str, object]) -> None:
        for key in self.binds:
            told = record.get(key)
            if isinstance(told, str) and told:
                self.binds[key] = told

    async def wait(self) -> str:
        """Wait for the end and describe it in words."""
        assert self._process is not None
        status = await self._process.wait()
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"ended with status {status}"

    async def stop(self) -> bool:
        """Send SIGTERM, and SIGKILL if it does not end in time. Return True when it ended by itself."""
        if self._process is None or not self.is_running:
            return True
        _send(self._process.terminate)
        try:
            status = await asyncio.wait_for(self._process.wait(), self.spec.stop_timeout_s)
        except TimeoutError:
            await self.kill()
            return False
        return status in {0, -signal.SIGTERM}

    async def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self._process is not None and self.is_running:
            _send(self._process.kill)
            await self._process.wait()


def _append_to(path: Path) -> IO[bytes]:
    return path.open("ab")


def _send(send: Callable[[], None]) -> None:
    with contextlib.suppress(ProcessLookupError):
        send()
