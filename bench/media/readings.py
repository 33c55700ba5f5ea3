"""Readings of the machine: a process's CPU by thread, a core's busy time, datagrams that sockets dropped."""

import os
import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_SECONDS_A_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_SOCKETS: Final = (Path("/proc/net/udp"), Path("/proc/net/udp6"))


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of CPU by now."""

    at_s: float
    user_s: float
    system_s: float
    main_thread_s: float
    core_busy_s: float
    """The busy time of the process's core, other processes included."""


@dataclass(frozen=True, slots=True)
class Spent:
    """The CPU time of a process between two readings, in cores."""

    seconds: float
    user: float
    system: float
    main_thread: float
    core_busy: float

    @property
    def core(self) -> float:
        """User and system time together."""
        return self.user + self.system


def read(process: psutil.Process, core: int) -> Reading:
    """Read the CPU time of the process and of its core so far."""
    of_process = process.cpu_times()
    main = next((each for each in process.threads() if each.id == process.pid), None)
    main_s = main.user_time + main.system_time if main else 0.0
    return Reading(time.monotonic(), of_process.user, of_process.system, main_s, _busy_s(core))


def spent(before: Reading, after: Reading) -> Spent:
    """Return the cores that were used between two readings."""
    seconds = after.at_s - before.at_s
    return Spent(
        seconds,
        (after.user_s - before.user_s) / seconds,
        (after.system_s - before.system_s) / seconds,
        (after.main_thread_s - before.main_thread_s) / seconds,
        (after.core_busy_s - before.core_busy_s) / seconds,
    )


def dropped_datagrams(ports: Container[int]) -> int:
    """Return how many datagrams the sockets of these local ports dropped because their buffer was full."""
    dropped = 0
    for table in _SOCKETS:
        if table.exists():
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) in ports:
                    dropped += int(fields[-1])
    return dropped


def _busy_s(core: int) -> float:
    """Return the seconds in which the core did not idle, without the time that a hypervisor took from it."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _waiting, irq, softirq = map(int, fields[:7])
            return (user + nice + system + irq + softirq) * _SECONDS_A_TICK
    raise SystemExit(f"this machine has no core {core}")
