"""Time limits of tests, and of processes that `sipgw up` starts, on a busy machine.

A limit of a few seconds tells a fault from work in progress only where the work gets a processor. Where more
processes want to run than there are processors, the same work takes that many times longer, and so they
wait that much longer. On a quiet machine nothing changes.
"""

import os


def patient(seconds: float) -> float:
    """Lengthen `seconds` by the number of processes that want to run, divided by the number of processors."""
    return seconds * max(1.0, _wanting_to_run() / (os.cpu_count() or 1))


def _wanting_to_run() -> float:
    """Return the load of the last minute, or the number of runnable processes now if that is higher."""
    load = os.getloadavg()[0]
    try:
        with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123 - read often
            running = next(int(line.split()[1]) for line in file if line.startswith("procs_running"))
    except (OSError, StopIteration):
        return load
    return max(load, running)
