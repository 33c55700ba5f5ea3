"""EndedOutbox: every ended call, kept until it has been exported at least once (ADR 0010).

The script that saves a call's end appends it to the partition's outbox in the same step. A consumer group
gives each entry to one consumer; entries that it does not acknowledge go to another.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sipgw.api.calls.v1.session_pb2 import CallSession
from sipgw.calls import outbox_scripts as scripts
from sipgw.store import PARTITIONS, Script, Store, partition_key

_ENTRIES_PER_TAKE: Final = 50
"""Per partition; 64 times this comes in one answer."""
_SLOTS_AT_ONCE: Final = 8
"""In a Cluster each command has a second, including its wait for a connection."""
_FORGET_AFTER_MS: Final = 600_000
"""A consumer that has taken nothing for so long and owes nothing is removed: each restart makes a new one."""


@dataclass(frozen=True, slots=True)
class EndedCall:
    """One ended call, not yet acknowledged: its position, and the session without SDP and SIP bytes."""

    partition: int
    entry_id: str
    session: CallSession


class EndedOutbox:
    """One consumer of the group. All methods raise StoreUnavailable."""

    def __init__(self, store: Store, consumer: str, *, forget_after_ms: int = _FORGET_AFTER_MS) -> None:
        self._store = store
        self._consumer = consumer
        self._forget_after_ms = forget_after_ms

    async def take(self, partitions: Iterable[int]) -> list[EndedCall]:
        """Take ended calls that no consumer has had yet."""
        args = [self._consumer, _ENTRIES_PER_TAKE]
        answers = await self._run(scripts.TAKE, sorted(partitions), args)
        return [_ended(chosen, row) for chosen, rows in answers for row in rows]

    async def take_over(self, idle_ms: int) -> tuple[list[EndedCall], int]:
        """Take ended calls that a consumer took `idle_ms` ago or longer and has not acknowledged.

        The consumer may be ourselves. Also return how many ended calls wait in all.
        """
        args = [self._consumer, _ENTRIES_PER_TAKE, idle_ms, self._forget_after_ms]
        answers = await self._run(scripts.TAKE_OVER, list(range(PARTITIONS)), args)
        ends = [_ended(chosen, row) for chosen, (_, rows) in answers for row in rows]
        return ends, sum(waiting for _, (waiting, _) in answers)

    async def acknowledge(self, ends: Sequence[EndedCall]) -> None:
        """Acknowledge exported calls, so that no consumer gets them again."""
        by_slot: dict[int, list[EndedCall]] = {}
        for end in ends:
            by_slot.setdefault(end.partition if self._store.is_cluster else 0, []).append(end)
        for group in by_slot.values():
            keys = [_outbox_key(end.partition) for end in group]
            await self._store.run(scripts.ACKNOWLEDGE, keys, [end.entry_id for end in group])

    async def _run(
        self, script: Script, partitions: Sequence[int], args: Sequence[str | int]
    ) -> list[tuple[Sequence[int], Any]]:
        """Run over all partitions at once, or one by one in a Cluster.

        Return each answer with its partitions.
        """
        if not partitions:
            return []
        groups: list[Sequence[int]] = (
            [[one] for one in partitions] if self._store.is_cluster else [partitions]
        )
        answers: list[Any] = []
        for first in range(0, len(groups), _SLOTS_AT_ONCE):
            some = groups[first : first + _SLOTS_AT_ONCE]
            runs = [self._store.run(script, [_outbox_key(one) for one in group], args) for group in some]
            answers += await asyncio.gather(*runs)
        return list(zip(groups, answers, strict=True))


def _ended(partitions: Sequence[int], row: Sequence[Any]) -> EndedCall:
    place, entry_id, data = row
    return EndedCall(partitions[int(place) - 1], entry_id.decode(), CallSession.FromString(data))


def _outbox_key(partition: int) -> str:
    return partition_key(partition, "outbox")
