"""The processes of a measurement, each held to one core, and their output in lines of JSON."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any


@contextlib.contextmanager
def started_on(core: int) -> Iterator[None]:
    """Hold processes started in the block to the core, with all their threads."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


@contextlib.contextmanager
def service(
    *arguments: str, core: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start a process of sipgw and yield its `ready` line; further logs are read and thrown away."""
    # A session each, as under a supervisor: Linux shares the CPU of a busy machine by sessions.
    with contextlib.nullcontext() if core is None else started_on(core):
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    with process:
        assert process.stderr is not None
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                with contextlib.suppress(ValueError):
                    if (fields := json.loads(line)).get("event") == "ready":
                        threading.Thread(target=process.stderr.read, daemon=True).start()
                        yield process, {**fields, "pid": process.pid}
                        return
            raise SystemExit(f"{arguments[0]} did not become ready:\n{''.join(lines)}")
        finally:
            process.terminate()


def read_metrics(admin: str) -> dict[str, float]:
    """Return the relay's own counters, by name."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith("sipgw_relay_") and "{" not in line)
    return {name.removeprefix("sipgw_relay_"): float(value) for name, _, value in pairs}


class Program:
    """A program of this bench that is running: lines to it, lines of JSON from it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def read(self) -> dict[str, Any]:
        """Return its next line."""
        assert self._process.stdout is not None
        if not (line := await self._process.stdout.readline()):
            raise SystemExit("a program of the bench ended early: see its message above")
        return json.loads(line)

    async def tell(self, *numbers: int) -> None:
        """Write a line of numbers."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, numbers)).encode() + b"\n")
        await self._process.stdin.drain()


_LONGEST_LINE = 1 << 24
"""Octets: a histogram may have 40,000 bins."""


@contextlib.asynccontextmanager
async def program(*command: object, core: int) -> AsyncIterator[Program]:
    """Start one of the C programs; end it afterwards."""
    with started_on(core):
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
