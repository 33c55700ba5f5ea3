"""Keep the processes of one gateway running, and end them in order.

It knows nothing of their work. A process that ends is started again with its old addresses, after a pause
that doubles up to 10 s and is reset after a minute without a crash. When the supervisor itself is killed, the
guard (guard.py) ends the rest.
"""

import asyncio
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sipgw.local import guard
from sipgw.local.errors import ServiceFailed
from sipgw.local.events import (
    ServiceCrashed,
    ServiceLogged,
    ServiceRestarted,
    ServiceStarted,
    ServiceStopped,
    SupervisorEvent,
)
from sipgw.local.service import ServiceProcess, ServiceSpec
from sipgw.local.service_log import LogLine

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_GOOD_CONDUCT_S = 60.0
_LOG_POLL_S = 0.1


class Supervisor:
    """The supervisor; leaving its `async with` block ends every process and removes `scratch`."""

    def __init__(
        self, log_directory: Path, on_event: Callable[[SupervisorEvent], None], *, guard_grace_s: float = 5.0
    ) -> None:
        self.run_id = secrets.token_hex(8)
        self._log_directory = log_directory
        self._on_event = on_event
        self._guard_grace_s = guard_grace_s
        self._services: dict[str, ServiceProcess] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._guard: subprocess.Popen[bytes] | None = None
        self.scratch = Path()

    async def __aenter__(self) -> "Supervisor":
        self.scratch = Path(tempfile.mkdtemp(prefix="sipgw-"))
        # In a session of its own, so that a terminal's Ctrl-C does not end the guard too.
        self._guard = subprocess.Popen(  # noqa: ASYNC220 - read by nobody, waited for in a thread
            [
                *(sys.executable, "-I", str(Path(guard.__file__))),
                *(self.run_id, str(self._guard_grace_s), str(self.scratch)),
            ],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.create_task(self.stop(), name="stop"))

    def service(self, name: str) -> ServiceProcess:
        """Return the service of that name."""
        return self._services[name]

    @property
    def services(self) -> list[ServiceProcess]:
        return list(self._services.values())

    async def start(self, *specs: ServiceSpec) -> None:
        """Start services at the same time and return when all are ready. Raises the first ServiceFailed."""
        starts = [asyncio.create_task(self._start_one(spec), name=f"start {spec.name}") for spec in specs]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            raise

    async def _start_one(self, spec: ServiceSpec) -> None:
        began = time.monotonic()
        service = ServiceProcess(spec, self.run_id, self._log_directory)
        self._services[spec.name] = service
        await service.start(lambda lines: self._tell_lines(spec.name, lines))
        self._on_event(ServiceStarted(spec.name, service.pid or 0, time.monotonic() - began))
        self._watchers[spec.name] = asyncio.create_task(self._watch(service), name=f"watch {spec.name}")

    async def _watch(self, service: ServiceProcess) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            how = await self._follow(service)
            if time.monotonic() - started > _GOOD_CONDUCT_S:
                pause_s = _FIRST_PAUSE_S
            self._on_event(ServiceCrashed(service.name, how, service.log.last_words(), pause_s))
            while True:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                try:
                    await service.start(lambda lines: self._tell_lines(service.name, lines))
                    break
                except ServiceFailed as error:
                    self._on_event(ServiceCrashed(service.name, "did not start", error.reason, pause_s))
            self._on_event(ServiceRestarted(service.name, service.pid or 0))

    async def _follow(self, service: ServiceProcess) -> str:
        """Pass on the log until the process ends; return how it ended."""
        ended = asyncio.create_task(service.wait(), name=f"wait {service.name}")
        try:
            while True:
                done, _ = await asyncio.wait({ended}, timeout=_LOG_POLL_S)
                self._tell_lines(service.name, service.log.read_new())
                if done:
                    return ended.result()
        finally:
            ended.cancel()

    def _tell_lines(self, name: str, lines: list[LogLine]) -> None:
        for line in lines:
            self._on_event(ServiceLogged(name, line))

    async def stop(self) -> None:
        """End all, stage by stage, in parallel within a stage. May be called again."""
        for watcher in self._watchers.values():
            watcher.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        self._watchers.clear()
        for stage in sorted({service.spec.stage for service in self.services}):
            await asyncio.gather(*(self._stop_one(s) for s in self.services if s.spec.stage == stage))
        self._services.clear()
        await self._end_guard()

    async def _stop_one(self, service: ServiceProcess) -> None:
        was_running = service.is_running
        is_clean = await service.stop()
        self._tell_lines(service.name, service.log.read_new())
        if was_running:
            self._on_event(ServiceStopped(service.name, is_clean))

    async def kill(self) -> None:
        """End all at once, by SIGKILL."""
        await asyncio.gather(*(service.kill() for service in self.services))

    async def _end_guard(self) -> None:
        """Let the guard look once more for processes of the run, clean up, and end."""
        if self._guard is not None:
            guard_process, self._guard = self._guard, None
            if guard_process.stdin is not None:
                guard_process.stdin.close()
            await asyncio.to_thread(guard_process.wait, 30)
