"""Drives clients/pjsip_client.py: commands in, events out, failures with everything that the client said."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from sipgw.runtime.patience import patient

_CLIENT = Path(__file__).parents[2] / "clients" / "pjsip_client.py"
Event = dict[str, Any]


class PjsipClient:
    """An async context: the client lives inside."""

    def __init__(
        self, codec: str = "PCMU", *, host: str = "127.0.0.1", login: tuple[str, str] | None = None
    ) -> None:
        self._options = ["--codec", codec, "--host", host]
        if login is not None:
            self._options += ["--user", login[0], "--password", login[1]]
        self.events: list[Event] = []
        self._news = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(_CLIENT), *self._options, stdin=pipe, stdout=pipe, stderr=pipe
        )
        self._reader = asyncio.create_task(self._read())
        await self.expect("ready")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._reader is not None
        if self._process.returncode is None:
            self.do("quit")
            try:
                await asyncio.wait_for(self._process.wait(), patient(10))
            except TimeoutError:
                self._process.kill()
        await self._reader

    def do(self, what: str, **fields: object) -> None:
        """Send a command."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **fields}).encode() + b"\n")

    async def expect(self, event: str, timeout_s: float = 10, *, after: int = 0, **fields: object) -> Event:
        """Wait for an event of that kind with these fields, also one that came already, from `after` on."""

        def matches(candidate: Event) -> bool:
            return candidate["event"] == event and fields.items() <= candidate.items()

        return await self._wait(matches, f"{event} {fields}", timeout_s, after)

    async def _wait(self, matches: Callable[[Event], bool], what: str, timeout_s: float, after: int) -> Event:
        try:
            async with asyncio.timeout(patient(timeout_s)):
                while True:
                    self._news.clear()
                    for event in self.events[after:]:
                        if matches(event):
                            return event
                    await self._news.wait()
        except TimeoutError:
            said = "\n".join(map(str, self.events))
            raise AssertionError(f"PJSIP: no {what} in {timeout_s:g} s; it said:\n{said}") from None

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        while line := await self._process.stdout.readline():
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.events.append({"event": "text", "text": line.decode(errors="replace")})
            self._news.set()
        errors = (await self._process.stderr.read()).decode(errors="replace")
        self.events.append({"event": "exited", "status": self._process.returncode, "stderr": errors[-2000:]})
        self._news.set()
