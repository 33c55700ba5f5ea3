"""`sipgw up` as a person runs it: a process whose output is read, and which is stopped or killed."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from sipgw.runtime.free_ports import free_range, give_back
from sipgw.runtime.patience import patient

_TIMEOUT_S = 60.0
_RTP_PORTS = 200


class Up:
    """Start with `await up.start("--edges=2")`. SIP and RTP are on free ports unless told otherwise."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines: list[str] = []
        self.environment = os.environ | {
            "XDG_RUNTIME_DIR": str(directory),
            "XDG_STATE_HOME": str(directory / "state"),
            "HOME": str(directory),
        }
        self.environment.pop("SIPGW_REDIS_URL", None)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._more = asyncio.Event()
        self._family: list[psutil.Process] = []
        self._guards: list[psutil.Process] = []
        self._ranges: list[int] = []

    async def start(
        self,
        *options: str,
        sip_port: int = 0,
        rtp_ports: str = "",
        advertise: str | None = "127.0.0.1",
    ) -> None:
        """Start it and wait for its ready line; with `advertise` None it finds its address itself."""
        address = [] if advertise is None else [f"--advertise={advertise}"]
        rtp_ports = rtp_ports or self.take_rtp_ports()
        await self.run("up", f"--sip-port={sip_port}", f"--rtp-ports={rtp_ports}", *address, *options)
        await self.line("ready ")
        self._family = psutil.Process(self.pid).children(recursive=True)
        self._guards = self.services("guard.py")

    def take_rtp_ports(self) -> str:
        """Reserve a range LOW-HIGH that no other test has, until `aclose`."""
        self._ranges.append(free_range(_RTP_PORTS))
        return f"{self._ranges[-1]}-{self._ranges[-1] + _RTP_PORTS - 1}"

    async def run(self, *arguments: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sipgw.cli", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment,
        )
        self._reader = asyncio.create_task(self._read())

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run another `sipgw` command of the same user; return its exit status and output.

        On a busy machine a relay whose audio is late takes no call: `sipgw call` tries again.
        """
        if arguments[0] == "call" and patient(1.0) > 1.0:
            arguments = (*arguments, "--patience", f"{patient(10):.0f}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sipgw.cli", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment,
        )
        output, _ = await asyncio.wait_for(process.communicate(), patient(_TIMEOUT_S))
        assert process.returncode is not None
        return process.returncode, output.decode()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ready(self) -> str:
        return next(line for line in self.lines if line.startswith("ready "))

    @property
    def sip(self) -> list[tuple[str, int]]:
        """The addresses that the edges listen on."""
        words = [word for word in self.ready.split() if word.startswith("sip:")]
        return [(host, int(port)) for _, host, port in (word.split(":") for word in words)]

    def services(self, word: str) -> list[psutil.Process]:
        """Find the running processes with that in their command line, such as a module's name."""
        return [p for p in self._family if _is_alive(p) and word in " ".join(p.cmdline())]

    @property
    def living(self) -> list[psutil.Process]:
        """Return those of the processes it had started, when it was ready, that still run."""
        return [process for process in self._family if _is_alive(process)]

    async def guard_gone(self) -> None:
        """Wait for the guard, the last process after a SIGKILL. Its output closes a moment before it is gone,
        and the test, which is not its parent, cannot wait for it.
        """
        await asyncio.to_thread(psutil.wait_procs, self._guards, 5.0)

    async def line(self, beginning: str) -> str:
        """Wait for the first line with this beginning, also one that has come already."""
        return await self._line(lambda line: line.startswith(beginning), beginning)

    async def line_with(self, part: str) -> str:
        """Wait for the first line that has this part."""
        return await self._line(lambda line: part in line, part)

    async def _line(self, is_wanted: Callable[[str], bool], what: str) -> str:
        async with asyncio.timeout(patient(_TIMEOUT_S)):
            while True:
                for line in self.lines:
                    if is_wanted(line):
                        return line
                assert not self._has_ended, f"ended without {what!r}:\n" + "\n".join(self.lines)
                self._more.clear()
                await self._more.wait()

    async def ended(self) -> int:
        """Wait for the end; return the exit status."""
        assert self._process is not None
        assert self._reader is not None
        status = await asyncio.wait_for(self._process.wait(), patient(_TIMEOUT_S))
        await self._reader
        return status

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself: the status tells how
            os.kill(self.pid, number)
        return await self.ended()

    async def aclose(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.stop()
        for process in self.living:
            process.kill()
        for first in self._ranges:
            give_back(first, _RTP_PORTS)
        self._ranges.clear()

    @property
    def _has_ended(self) -> bool:
        return self._reader is not None and self._reader.done()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())
            self._more.set()
        self._more.set()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
