"""Keep the newest version of each call that changed while Redis was away.

The journal is open from the first command without a reply until all is replayed. A call that ended elsewhere
meanwhile is not brought back; a call that ended here is ended in Redis too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.calls import VersionConflict
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip_edge import metrics
from sipgw.sip_edge.record.ending import copy_end

_log = get_logger("sipgw.sip_edge.journal")
_PARALLEL: Final = 32
Note = Callable[[calls.CallSession], None]


class Publisher(Protocol):
    """The part of the call store that the journal uses."""

    async def load(self, call_id: str) -> calls.CallSession | None:
        """Return the record in Redis; None without one."""
        ...

    async def end(self, record: calls.CallSession, /) -> calls.CallSession:
        """Save a record as a tombstone."""
        ...

    async def restore(self, record: calls.CallSession, /) -> calls.CallSession:
        """Publish a record after data loss."""
        ...


class Journal:
    """Versions of calls that Redis lacks, at most one for each call that this edge owns."""

    def __init__(self) -> None:
        self._pending: dict[str, calls.CallSession] = {}
        self._opened = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Tell whether changes go to the journal."""
        return self._opened.is_set()

    def open(self, why: str) -> None:
        """Open the journal, because Redis did not respond."""
        if not self._opened.is_set():
            self._opened.set()
            metrics.REDIS_AWAY.set(1)
            _log.warning("redis_away", error=why)

    async def opened(self) -> None:
        """Wait until the journal is open."""
        await self._opened.wait()

    def add(self, record: calls.CallSession) -> None:
        """Keep `record` until Redis has it."""
        self._pending[record.call_id] = record
        metrics.JOURNALED.set(len(self._pending))

    def get(self, call_id: str) -> calls.CallSession | None:
        """Give a call that changed while Redis was away."""
        return self._pending.get(call_id)

    async def replay(self, store: Publisher, note: Note) -> None:
        """Publish everything, then close.

        Raises StoreUnavailable, and stays open, if Redis goes away again.
        """
        while self._pending:
            waiting = list(self._pending.values())
            await _each(waiting, lambda record: self._replay_one(record, store, note))
            _log.info("journal_replayed", records=len(waiting))
        self._opened.clear()
        metrics.REDIS_AWAY.set(0)

    async def publish(self, sessions: Sequence[calls.CallSession], store: Publisher, note: Note) -> None:
        """Publish calls that Redis may have lost; a call that has ended there stays ended."""

        async def publish_one(record: calls.CallSession) -> None:
            await self._restore(record, store, note)

        await _each(sessions, publish_one)
        _log.info("records_published", records=len(sessions))

    async def _replay_one(self, record: calls.CallSession, store: Publisher, note: Note) -> None:
        await self._restore(record, store, note)
        if self._pending.get(record.call_id) is record:  # unless it changed again meanwhile
            del self._pending[record.call_id]
            metrics.JOURNALED.set(len(self._pending))

    async def _restore(self, record: calls.CallSession, store: Publisher, note: Note) -> None:
        held = await store.load(record.call_id)
        if held is None or (held.state != calls.CALL_STATE_ENDED and _order(held) < _order(record)):
            held = await store.restore(record)
        if record.state == calls.CALL_STATE_ENDED and held.state != calls.CALL_STATE_ENDED:
            held = await _end_there(held, record, store)
        if _order(held) != _order(record) or held.state == calls.CALL_STATE_ENDED:
            note(held)


async def _end_there(
    held: calls.CallSession, ended: calls.CallSession, store: Publisher
) -> calls.CallSession:
    """End a call in Redis that has ended here, though another edge changed it there."""
    draft = calls.CallSession()
    draft.CopyFrom(held)
    copy_end(draft, ended)
    try:
        return await store.end(draft)
    except VersionConflict as conflict:
        return conflict.current or held


async def _each(
    sessions: Sequence[calls.CallSession], act: Callable[[calls.CallSession], Awaitable[None]]
) -> None:
    """Run `act` on all, several at a time; raise the first error when all are done."""
    room = asyncio.Semaphore(_PARALLEL)

    async def one(record: calls.CallSession) -> None:
        async with room:
            await act(record)

    outcomes = await asyncio.gather(*map(one, sessions), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _order(record: calls.CallSession) -> tuple[int, int]:
    return record.owner_epoch, record.version
