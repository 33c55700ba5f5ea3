"""The timers of RFC 3261 §17 (table 4) and RFC 6026, in seconds, by transport."""

from dataclasses import dataclass
from enum import Enum, auto


class Timer(Enum):
    """The RFC's letters.

    TRYING is the 200 ms after which an INVITE server transaction sends a 100 (RFC 3261 §17.2.1).
    """

    A = auto()
    B = auto()
    D = auto()
    E = auto()
    F = auto()
    G = auto()
    H = auto()
    I = auto()  # noqa: E741 - the RFC's letter
    J = auto()
    K = auto()
    L = auto()
    M = auto()
    TRYING = auto()


@dataclass(frozen=True, slots=True)
class TimerValues:
    """T1, T2 and T4, and the intervals derived from them."""

    t1_s: float = 0.5
    t2_s: float = 4.0
    t4_s: float = 5.0
    trying_s: float = 0.2

    @property
    def timeout_s(self) -> float:
        """64*T1: timers B, F, H, J, L, M and the life of a 2xx without ACK."""
        return 64 * self.t1_s

    def first_interval(self, timer: Timer, *, is_reliable: bool) -> float:
        """Return how long `timer` runs when started.

        Over TCP and TLS the waits for stray copies are zero.
        """
        if timer in (Timer.A, Timer.E, Timer.G):
            return self.t1_s
        if timer in (Timer.I, Timer.K):
            return 0.0 if is_reliable else self.t4_s
        if timer is Timer.D:
            return 0.0 if is_reliable else max(32.0, self.timeout_s)
        if timer is Timer.J:
            return 0.0 if is_reliable else self.timeout_s
        if timer is Timer.TRYING:
            return self.trying_s
        return self.timeout_s
