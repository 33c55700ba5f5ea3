"""CallRegistry: the thread-safe map of calls, built from the partitions' streams.

It does no I/O. Only higher versions are applied, so the order in which records and stream entries arrive does
not matter. After data loss it keeps its calls, unconfirmed, while their owners publish them again; calls that
are still missing when the grace ends are reported as ended and lost.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import RLock
from typing import Final

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_ENDED, END_CAUSE_LOST
from sipgw.api.registry.v1.registry_pb2 import CallSummary
from sipgw.calls import TOMBSTONE_MS, PartitionRecords, Transition
from sipgw.registry.call_watch import CallChanged, CallWatch
from sipgw.registry.errors import NotMaterialised
from sipgw.registry.resource_version import ResourceVersion, order_of
from sipgw.registry.setup_rate import SetupRate
from sipgw.registry.summaries import summary_of
from sipgw.store import PARTITIONS

DATA_LOSS_GRACE_S: Final = 10.0


@dataclass(slots=True)
class _Entry:
    partition: int
    summary: CallSummary
    is_confirmed: bool
    forget_at: float
    """When a tombstone expires; infinite for a live call."""


@dataclass(frozen=True, slots=True)
class CallCounts:
    """How many calls live."""

    live: int
    by_route: dict[str, int]
    by_relay: dict[str, int]
    by_trunk: dict[str, int]
    setups_per_s: float
    live_elsewhere: int
    by_bot_elsewhere: dict[str, int]


class CallRegistry:
    """The map. Every method may be called from any thread; the summaries it returns never change."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        data_loss_grace_s: float = DATA_LOSS_GRACE_S,
    ) -> None:
        self._monotonic = monotonic
        self._data_loss_grace_s = data_loss_grace_s
        self._lock = RLock()
        self._entries: dict[str, _Entry] = {}
        self._positions: list[str | None] = [None] * PARTITIONS
        self._epoch = ""
        self._grace_until = float("-inf")
        self._live = 0
        self._by_route: Counter[str] = Counter()
        self._by_relay: Counter[str] = Counter()
        self._by_trunk: Counter[str] = Counter()
        self._by_bot: Counter[str] = Counter()
        self._by_owner: dict[str, Counter[str]] = {}
        self._setups = SetupRate(monotonic)
        self._watches: list[CallWatch] = []

    @property
    def epoch(self) -> str:
        """Redis' epoch at which this map was read; empty before the first reading."""
        with self._lock:
            return self._epoch

    @property
    def is_materialised(self) -> bool:
        """Whether every partition has been read since the epoch began."""
        with self._lock:
            return None not in self._positions

    @property
    def is_in_grace(self) -> bool:
        """Whether calls that Redis lost may still be published again by their owners."""
        return self._monotonic() < self._grace_until

    def begin_epoch(self, epoch: str) -> None:
        """Mark all calls unconfirmed and expire all watches: Redis may have lost data."""
        with self._lock:
            if self._epoch and self._entries:
                self._grace_until = self._monotonic() + self._data_loss_grace_s
            self._epoch = epoch
            self._positions = [None] * PARTITIONS
            for entry in self._entries.values():
                entry.is_confirmed = False
            for watch in self._watches:
                watch.expire("Redis lost data")
            self._watches.clear()

    def replace_partition(self, records: PartitionRecords) -> None:
        """Apply the reading of a partition: a live call missing in it is lost, unless the grace lasts.

        Must not overlap with `apply` for the same partition: a call saved after the reading would seem lost.
        """
        partition = records.partition
        with self._lock:
            changes = [
                change
                for session in records.sessions
                if (change := self._put(partition, None, summary_of(session))) is not None
            ]
            held = {session.call_id for session in records.sessions}
            if not self.is_in_grace:
                changes += [self._lose(entry) for entry in self._missing(partition, held)]
            self._positions[partition] = records.position
            self._tell(changes)

    def apply(self, transitions: Iterable[Transition]) -> int:
        """Apply entries of the streams; return how many were new."""
        with self._lock:
            changes: list[CallChanged] = []
            for transition in transitions:
                change = self._put(transition.partition, transition.position, summary_of(transition.session))
                if change is not None:
                    changes.append(change)
                self._positions[transition.partition] = transition.position
            self._tell(changes)
            return len(changes)

    def forget_tombstones(self) -> None:
        """Drop ended calls whose tombstone has expired in Redis."""
        with self._lock:
            now = self._monotonic()
            for call_id in [call_id for call_id, entry in self._entries.items() if entry.forget_at <= now]:
                del self._entries[call_id]

    def positions(self) -> dict[int, str]:
        """Return the position from which to follow each partition. Raises NotMaterialised."""
        with self._lock:
            return dict(enumerate(self._known_positions()))

    def get(self, call_id: str) -> CallSummary | None:
        """Return the call, or a tombstone that is still known."""
        with self._lock:
            entry = self._entries.get(call_id)
            return None if entry is None else entry.summary

    def list(self, *, include_ended: bool = False) -> "tuple[list[CallSummary], ResourceVersion]":
        """Return the calls, and the version from which to watch. Raises NotMaterialised."""
        with self._lock:
            version = ResourceVersion(self._epoch, self._known_positions())
            found = [
                entry.summary
                for entry in self._entries.values()
                if include_ended or entry.summary.state != CALL_STATE_ENDED
            ]
        return found, version

    def count(self, *, except_owner: str = "") -> CallCounts:
        """Return how many calls live; `elsewhere`: without those of the edge of this incarnation."""
        with self._lock:
            own = (self._by_owner.get(except_owner) if except_owner else None) or Counter[str]()
            return CallCounts(
                self._live,
                dict(self._by_route),
                dict(self._by_relay),
                dict(self._by_trunk),
                self._setups.per_second(),
                self._live - own.total(),
                dict(self._by_bot - own),
            )

    def watch(self, notify: Callable[[], None]) -> tuple[CallWatch, ResourceVersion]:
        """Follow the changes from now on; return the watch and the present version.

        Raises NotMaterialised.
        """
        with self._lock:
            version = ResourceVersion(self._epoch, self._known_positions())
            watch = CallWatch(notify)
            self._watches.append(watch)
            return watch, version

    def take(self, watch: CallWatch) -> "tuple[list[CallChanged], dict[int, str]]":
        """Take the changes new to `watch`, and the positions that they reach. Raises WatchExpired."""
        with self._lock:
            return watch.take(), dict(enumerate(self._known_positions()))

    def unwatch(self, watch: CallWatch) -> None:
        """End a watch."""
        with self._lock:
            if watch in self._watches:
                self._watches.remove(watch)

    def _known_positions(self) -> tuple[str, ...]:
        positions = tuple(position for position in self._positions if position is not None)
        if len(positions) != PARTITIONS:
            raise NotMaterialised("the calls have not been read from Redis yet")
        return positions

    def _put(self, partition: int, position: str | None, summary: CallSummary) -> CallChanged | None:
        held = self._entries.get(summary.call_id)
        if held is not None and held.is_confirmed and summary.version <= held.summary.version:
            return None
        is_ended = summary.state == CALL_STATE_ENDED
        forget_at = self._monotonic() + TOMBSTONE_MS / 1000 if is_ended else float("inf")
        if held is not None:
            self._add(held.summary, -1)
        elif position is not None:  # from the stream: it began just now, after the reading at our start
            self._setups.note()
        self._entries[summary.call_id] = _Entry(partition, summary, is_confirmed=True, forget_at=forget_at)
        self._add(summary, 1)
        if held is not None and held.summary == summary:
            return None
        return CallChanged(partition, position, summary)

    def _missing(self, partition: int, held: set[str]) -> "list[_Entry]":
        return [
            entry
            for call_id, entry in self._entries.items()
            if entry.partition == partition
            and call_id not in held
            and entry.summary.state != CALL_STATE_ENDED
        ]

    def _lose(self, entry: _Entry) -> CallChanged:
        """Mark a call as lost: its record is gone without an end."""
        lost = CallSummary()
        lost.CopyFrom(entry.summary)
        lost.state, lost.end_cause, lost.end_reason = CALL_STATE_ENDED, END_CAUSE_LOST, "its record is gone"
        self._add(entry.summary, -1)
        entry.summary, entry.is_confirmed = lost, False
        entry.forget_at = self._monotonic() + TOMBSTONE_MS / 1000
        return CallChanged(entry.partition, None, lost)

    def _add(self, summary: CallSummary, step: int) -> None:
        if summary.state == CALL_STATE_ENDED:
            return
        self._live += step
        self._add_bot(summary, step)
        for counter, key in (
            (self._by_route, summary.route),
            (self._by_relay, summary.relay.name),
            (self._by_trunk, summary.trunk),
        ):
            if key:
                counter[key] += step
                if not counter[key]:
                    del counter[key]

    def _add_bot(self, summary: CallSummary, step: int) -> None:
        key, owner = f"{summary.route}/{summary.bot_endpoint}", summary.owner.incarnation
        of_owner = self._by_owner.setdefault(owner, Counter())
        for counter in (self._by_bot, of_owner):
            counter[key] += step
            if not counter[key]:
                del counter[key]
        if not of_owner:
            del self._by_owner[owner]

    def _tell(self, changes: "list[CallChanged]") -> None:
        if changes:
            for watch in self._watches:
                watch.add(changes)


def newer_than(change: CallChanged, positions: dict[int, str]) -> bool:
    """Return whether a watcher at `positions` has not received `change` yet."""
    if change.position is None:
        return True
    return order_of(change.position) > order_of(positions[change.partition])
