"""Read how much CPU the container may use: the quotas of its control group and its parents (cgroups(7)).

A process that has used up its quota stands still until the next period begins, on however many cores.
"""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_MEMBERSHIP: Final = Path("/proc/self/cgroup")
_MOUNT: Final = Path("/sys/fs/cgroup")


def read_cpu_limit(membership: Path = _MEMBERSHIP, mount: Path = _MOUNT) -> float:
    """Return the limit in cores; infinite where nothing limits the process or nothing can be read."""
    return min(_limits(membership, mount), default=math.inf)


def _limits(membership: Path, mount: Path) -> Iterator[float]:
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # cgroups version 2
            for folder in _with_parents(mount, path):
                yield _cores(*(_read(folder / "cpu.max").split() or ["max", "1"]))
        elif "cpu" in controllers.split(","):  # cgroups version 1
            for folder in _with_parents(mount / controllers, path):
                quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
                yield _cores(quota or "-1", period or "1")


def _with_parents(root: Path, path: str) -> Iterator[Path]:
    """Yield the group's folder and its parents.

    In a container the path may be the host's; the mount's root is then the container's own group.
    """
    relative = PurePosixPath(path.lstrip("/"))
    for each in (relative, *relative.parents):
        yield root / each


def _cores(quota: str, period: str) -> float:
    try:
        limit = int(quota) / int(period)
    except ValueError:  # "max": no limit
        return math.inf
    return limit if limit > 0 else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
