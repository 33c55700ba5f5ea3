"""How a process is, in the two questions of a probe."""

from collections.abc import Callable
from dataclasses import dataclass


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Vitals:
    """Asked anew by each probe.

    Live is who is worth keeping: only what a restart would cure may say no. Ready is who is worth new work. A
    Redis that is away makes nobody not live: a restart cures nothing and would cost calls.
    """

    is_ready: Callable[[], bool]
    is_live: Callable[[], bool] = _always
