"""Candidate: leader election by a coordination.k8s.io Lease. Sans-I/O.

The lease read and the time go in, the write comes out. As in client-go, a lease is judged by our own clock
from its last observed change, never by the times in it, so clocks that differ do no harm. A leader stops by
itself when it could not renew for `RENEW_WITHIN_S`, before any other may take over.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

LEASE_S: Final = 8.0
RENEW_WITHIN_S: Final = 5.0
PERIOD_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The Lease as read. `version` is its resourceVersion."""

    holder: str
    duration_s: float
    transitions: int
    version: str


class Step(Enum):
    """The next action on the lease."""

    CREATE = "create it"
    TAKE = "write us into it"
    RENEW = "renew it"
    WAIT = "leave it"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One replica's view; every method returns the next view or an answer."""

    identity: str
    seen: LeaseRecord | None = None
    seen_at: float = float("-inf")
    renewed_at: float = float("-inf")

    def leads(self, now: float) -> bool:
        """Return whether we may act now."""
        return now - self.renewed_at < RENEW_WITHIN_S

    def read(self, record: LeaseRecord | None, now: float) -> "Candidate":
        """Note the Lease as read."""
        if record is None:
            return replace(self, seen=None)
        if self.seen is not None and record.version == self.seen.version:
            return self
        lost = record.holder != self.identity
        return replace(self, seen=record, seen_at=now, renewed_at=float("-inf") if lost else self.renewed_at)

    def step(self, now: float) -> Step:
        """Return what to write."""
        if self.seen is None:
            return Step.CREATE
        if self.seen.holder == self.identity:
            return Step.RENEW
        if not self.seen.holder or now - self.seen_at >= self.seen.duration_s:
            return Step.TAKE
        return Step.WAIT

    def wrote(self, record: LeaseRecord, asked_at: float) -> "Candidate":
        """Note that our write succeeded; it counts from the time of the request."""
        return replace(self, seen=record, seen_at=asked_at, renewed_at=asked_at)

    def gave_up(self) -> "Candidate":
        """Note that we no longer lead."""
        return replace(self, renewed_at=float("-inf"))
