"""The state of a process as the two questions of a probe."""

from collections.abc import Callable
from dataclasses import dataclass


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Vitals:
    """The answers of a process, computed at each probe.

    Liveness fails only for faults that a restart cures. Readiness says whether new work is welcome. A Redis
    that is away fails no liveness: a restart would not help and would cost calls.
    """

    is_ready: Callable[[], bool]
    is_live: Callable[[], bool] = _always
