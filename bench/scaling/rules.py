"""The rules that size the relays: the operator's, and one like the HorizontalPodAutoscaler's, twice."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from scaling.fleet import Fleet
from sipgw.operator.fleet import Memory, Observed, RelayState, SizingSpec
from sipgw.operator.plan import plan
from sipgw.operator.spread import numbers_of

_MOVED_IN_A_STEP: Final = 0.5
"""The share of a draining relay's calls that reach a pause in speech within 5 s."""


@dataclass
class Told:
    """The effect of a rule on calls that were up."""

    moved: int = 0
    dropped: int = 0


class Rule(Protocol):
    """Sizes the fleet; called once per step."""

    name: str

    def act(self, fleet: Fleet, setups_per_s: float, now: float) -> Told: ...


class OperatorRule:
    """The operator's plan(), fed with what the registry would report."""

    name = "sipgw operator"

    def __init__(self, spec: SizingSpec) -> None:
        self._spec = spec
        self._memory = Memory()
        self._replicas: tuple[int, ...] = ()
        self._names = {str(number): number for number in range(spec.most + 1)}

    def act(self, fleet: Fleet, setups_per_s: float, now: float) -> Told:
        moved = fleet.move(_MOVED_IN_A_STEP, now)
        observed = Observed(
            replicas=self._replicas or _replicas_of(fleet.total, self._spec.lanes),
            relays=_states(fleet, now),
            setups_per_s=setups_per_s,
        )
        made, self._memory = plan(self._spec, observed, self._memory, now)
        for name in made.undrain:
            fleet.draining[self._names[name]] = False
        fleet.drain([self._names[name] for name in made.drain], now)
        self._replicas = made.replicas
        total = max(numbers_of(made.replicas), default=-1) + 1
        dropped = fleet.shrink(total) if total < fleet.total else 0
        fleet.grow(total, now)
        return Told(moved, dropped)


def _replicas_of(total: int, lanes: int) -> tuple[int, ...]:
    """Return the replicas of each lane for relays 0 to total - 1."""
    return tuple(max(-(-(total - lane) // lanes), 0) for lane in range(lanes))


def _states(fleet: Fleet, now: float) -> dict[int, RelayState]:
    calls, draining = fleet.calls.tolist(), fleet.draining.tolist()
    capacity = fleet.capacity
    return {
        number: RelayState(
            str(number),
            capacity,
            calls[number],
            calls[number],
            capacity - calls[number],
            draining[number],
            draining[number],
        )
        for number in np.flatnonzero(fleet.is_up(now)).tolist()
    }


@dataclass
class HpaRule:
    """desired = ceil(current * utilisation / target), each 15 s, 10 % tolerance, the most of the last 300 s.

    `waits_s`: a relay to be removed takes no new calls and ends when it is empty or the time is over; 0 ends
    it at once with its calls. Utilisation is that of all pods, as HPA's is, also of those that still wait.
    """

    name: str
    least: int
    most: int
    target: float
    waits_s: float
    sync_s: float = 15.0
    stabilise_s: float = 300.0
    _next: float = 0.0
    _advice: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def act(self, fleet: Fleet, setups_per_s: float, now: float) -> Told:
        told = Told(dropped=self._end_drained(fleet, now))
        if now < self._next:
            return told
        self._next = now + self.sync_s
        wanted = self._desired(fleet, now)
        current = fleet.total - int(fleet.draining[: fleet.total].sum())
        if wanted > current:
            self._scale_out(fleet, current, wanted, now)
        elif wanted < current:
            told.dropped += self._scale_in(fleet, current - wanted, now)
        return told

    def _desired(self, fleet: Fleet, now: float) -> int:
        serving = ~fleet.draining[: fleet.total]
        current = max(int(serving.sum()), 1)
        used = int(fleet.calls[: fleet.total][serving].sum())
        ratio = used / (current * fleet.capacity) / self.target
        advice = current if abs(ratio - 1) <= 0.1 else math.ceil(current * ratio)
        advice = min(max(advice, self.least), self.most)
        self._advice.append((now, advice))
        while self._advice[0][0] < now - self.stabilise_s:
            self._advice.popleft()
        return max(advice, min(max(count for _, count in self._advice), current))

    def _scale_out(self, fleet: Fleet, current: int, wanted: int, now: float) -> None:
        allowed = min(wanted, max(2 * current, current + 4))  # the default policies: 100 % or 4 pods
        fleet.grow(min(fleet.total + allowed - current, self.most), now)

    def _scale_in(self, fleet: Fleet, count: int, now: float) -> int:
        serving = np.flatnonzero(~fleet.draining[: fleet.total])
        fleet.drain(serving[len(serving) - count :], now)
        return self._end_drained(fleet, now)

    def _end_drained(self, fleet: Fleet, now: float) -> int:
        dropped = 0
        while fleet.total and fleet.draining[fleet.total - 1]:
            top = fleet.total - 1
            if fleet.calls[top] and now - fleet.draining_since[top] < self.waits_s:
                break
            dropped += fleet.shrink(top)
        return dropped
