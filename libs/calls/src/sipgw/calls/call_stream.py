"""CallStream: read a partition's records and follow its stream: note the stream's end, read, follow.

The position in a partition is a stream id ("ms-seq"). Entries after a position older than the retention may
be gone; `is_trimmed` tells, and errs on the safe side.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sipgw.api.calls.v1.session_pb2 import CallSession
from sipgw.calls.call_scripts import STREAM_RETENTION_MS
from sipgw.calls.call_store import CallStore
from sipgw.store import Store, StoreProtocolError, partition_key

STREAM_START: Final = "0-0"
_ENTRIES_PER_READ: Final = 200
"""Per partition; 64 times this is read at once, which takes some hundred milliseconds at most."""
_CLUSTER_POLL_S: Final = 0.2
_LAST_SEQUENCE: Final = 999_999_999
"""More entries than one stream can get in a millisecond."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One save of a call: its position in the stream and the session without SDP and SIP bytes."""

    partition: int
    position: str
    session: CallSession


@dataclass(frozen=True, slots=True)
class PartitionRecords:
    """The records of a partition at the time of reading.

    `sessions` has every save up to `position`, and maybe later ones.
    """

    partition: int
    position: str
    sessions: list[CallSession]


class CallStream:
    """A reader of partitions. All methods raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calls = CallStore(store)

    async def read_partition(self, partition: int) -> PartitionRecords:
        """Return the live calls and the tombstones of a partition, and the position to follow from."""
        position = await self._present_position(partition)
        live = await self._calls.owners(partition)
        tombstones: list[bytes] = await self._store.command(
            "ZRANGEBYSCORE", partition_key(partition, "ended"), self._store.now_ms(), "+inf"
        )
        wanted = [*live, *(call_id.decode() for call_id in tombstones if call_id.decode() not in live)]
        sessions = await self._calls.load_many(partition, wanted)
        held = {session.call_id for session in sessions}
        # Ended and expired between the two reads, or evicted: remove them from the index.
        await self._calls.forget(call_id for call_id in live if call_id not in held)
        return PartitionRecords(partition, position, sessions)

    async def follow(self, positions: Mapping[int, str], *, block_ms: int) -> list[Transition]:
        """Return the saves after `positions`, in order within each partition.

        Wait at most `block_ms` for the first. A Cluster is polled: it has no one command that waits on all
        partitions.
        """
        if not self._store.is_cluster:
            return await self._read_all(positions, block_ms)
        found = await self._read_each(positions)
        if not found and block_ms > 0:
            await asyncio.sleep(min(block_ms / 1000, _CLUSTER_POLL_S))
        return found

    async def is_trimmed(self, partition: int, position: str) -> bool:
        """Return whether entries after `position` may be gone."""
        if _milliseconds(position) >= self._store.now_ms() - STREAM_RETENTION_MS:
            return False
        if _order(await self._last_position(partition)) <= _order(position):
            return False
        first: list[Any] = await self._store.command("XRANGE", _stream_key(partition), "-", "+", "COUNT", 1)
        return bool(first) and _order(first[0][0].decode()) > _order(position)

    async def _present_position(self, partition: int) -> str:
        """Return the stream's end, or just before the present time when that is later.

        Ids are Redis time and never go back, so nothing saved later comes before this position. A quiet
        partition thus has a young position, after which nothing can have been trimmed.
        """
        now_ms = await self._store.redis_time_ms()
        return max(await self._last_position(partition), f"{now_ms - 1}-{_LAST_SEQUENCE}", key=_order)

    async def _last_position(self, partition: int) -> str:
        try:
            facts: list[Any] = await self._store.command("XINFO", "STREAM", _stream_key(partition))
        except StoreProtocolError:  # no such key: nothing was ever saved
            return STREAM_START
        return facts[facts.index(b"last-generated-id") + 1].decode()

    async def _read_each(self, positions: Mapping[int, str]) -> list[Transition]:
        reads = [self._read_one(*place) for place in positions.items()]
        return [transition for read in await asyncio.gather(*reads) for transition in read]

    async def _read_one(self, partition: int, position: str) -> list[Transition]:
        """Read by XRANGE, not XREAD: a Cluster's client knows the node of its key without asking."""
        entries: list[Any] = await self._store.command(
            "XRANGE", _stream_key(partition), f"({position}", "+", "COUNT", _ENTRIES_PER_READ
        )
        return [_transition(partition, *entry) for entry in entries]

    async def _read_all(self, positions: Mapping[int, str], block_ms: int) -> list[Transition]:
        keys = [_stream_key(partition) for partition in positions]
        partition_by_key = dict(zip((key.encode() for key in keys), positions, strict=True))
        block = ("BLOCK", block_ms) if block_ms > 0 else ()
        command = ("XREAD", "COUNT", _ENTRIES_PER_READ, *block, "STREAMS", *keys, *positions.values())
        answer: list[Any] | None = await (
            self._store.blocking_command(*command, block_s=block_ms / 1000)
            if block_ms > 0
            else self._store.command(*command)
        )
        return [
            _transition(partition_by_key[key], *entry) for key, entries in answer or () for entry in entries
        ]


def _transition(partition: int, entry_id: bytes, fields: list[bytes]) -> Transition:
    return Transition(partition, entry_id.decode(), CallSession.FromString(fields[1]))


def _stream_key(partition: int) -> str:
    return partition_key(partition, "stream")


def _milliseconds(position: str) -> int:
    return int(position.partition("-")[0])


def _order(position: str) -> tuple[int, int]:
    milliseconds, _, sequence = position.partition("-")
    return int(milliseconds), int(sequence)
