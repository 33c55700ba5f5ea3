"""For tests: how much longer to wait on a busy machine.

A bound of a few seconds tells a fault from work in progress only where the work gets a processor. Where more
wants to run than there are processors, the same work takes that many times longer, and so may a test wait for
it that much longer. On a quiet machine nothing changes.
"""

import os


def patient(seconds: float) -> float:
    """Lengthen `seconds` by the processes that want to run, divided by the processors that there are."""
    return seconds * max(1.0, _wanting_to_run() / (os.cpu_count() or 1))


def _wanting_to_run() -> float:
    """The load of the last minute, or what wants to run now if that is more."""
    load = os.getloadavg()[0]
    try:
        with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123 - read often
            running = next(int(line.split()[1]) for line in file if line.startswith("procs_running"))
    except (OSError, StopIteration):
        return load
    return max(load, running)
