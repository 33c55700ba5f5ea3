"""Real processes for tests: each started by its console module, awaited by its ready line, ended by pid."""

import asyncio
import json
import signal
import sys
from typing import Any

from sipgw.runtime.patience import patient


class Process:
    """A process: `fields` are those of its ready line; `lines` is all that it logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.fields: dict[str, Any] = {}
        self.lines: list[str] = []

    @classmethod
    async def start(cls, module: str, *flags: str) -> "Process":
        """Run `python -m module flags`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *flags, stderr=asyncio.subprocess.PIPE
        )
        started = cls(process)
        started._reader = asyncio.create_task(started._read(), name=f"log of {module}")
        return started

    async def ready(self, within_s: float = 20.0) -> dict[str, Any]:
        """Wait for the ready line and give its fields."""
        async with asyncio.timeout(patient(within_s)):
            await self._ready.wait()
        if not self.fields:
            raise AssertionError("ended before it was ready:\n" + "\n".join(self.lines[-20:]))
        return self.fields

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 20.0) -> int:
        """Send a signal, wait for the end, and give the exit status."""
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self.ended(within_s)

    async def ended(self, within_s: float = 20.0) -> int:
        """Wait until the process ends by itself; give its exit status."""
        async with asyncio.timeout(patient(within_s)):
            status = await self._process.wait()
            if self._reader is not None:
                await self._reader
        return status

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Give the log lines of an event."""
        found = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in found if line.get("event") == event]

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self.lines.append(line)
            if '"event": "ready"' in line or '"event":"ready"' in line:
                self.fields = json.loads(line)
                self._ready.set()
        self._ready.set()
