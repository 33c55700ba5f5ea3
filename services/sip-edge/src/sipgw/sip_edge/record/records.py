"""The calls' records at this edge: compare-and-set on Redis, and a write-through copy of the calls it owns.

While Redis is away, the copy of an owned call still changes, and the change waits in the journal; a call of
another edge cannot be served (StoreUnavailable). The copy of a record that another edge owns now is dropped:
whatever this edge still meant to do to the call is stale.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol
from weakref import WeakValueDictionary

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.calls import Created, Existing, VersionConflict, is_legal
from sipgw.runtime.settings import Identity
from sipgw.sip_edge import metrics
from sipgw.sip_edge.errors import CallOver, RecordMissing
from sipgw.sip_edge.record import sequencing
from sipgw.sip_edge.record.journal import Journal
from sipgw.store import StoreUnavailable

_MAX_RACES: Final = 32
Change = Callable[[calls.CallSession], bool]
"""Changes the draft it is given; False: leave the record as it is (`update` raises CallOver)."""


class CallRecordStore(Protocol):
    """The part of `sipgw.calls.CallStore` that the records use."""

    async def create(self, record: calls.CallSession, /) -> Created | Existing:
        """Create a record unless the call id has one."""
        ...

    async def load(self, call_id: str) -> calls.CallSession | None:
        """Return the record in Redis; None without one."""
        ...

    async def save(self, record: calls.CallSession, /) -> calls.CallSession:
        """Save a record if its version is still that in Redis."""
        ...

    async def end(self, record: calls.CallSession, /) -> calls.CallSession:
        """Save a record as a tombstone."""
        ...

    async def restore(self, record: calls.CallSession, /) -> calls.CallSession:
        """Publish a record after data loss."""
        ...

    async def claim(self, record: calls.CallSession, new_owner: Identity, /) -> calls.CallSession:
        """Make `new_owner` the owner of a record."""
        ...


@dataclass(frozen=True, slots=True)
class Replaced:
    """A change of a record: the version before and the one saved. Treat both as read-only."""

    before: calls.CallSession
    after: calls.CallSession


class CallRecords:
    """The records.

    `on_lost` is called with an owned call that another edge owns now, or that has ended elsewhere.
    """

    def __init__(
        self,
        store: CallRecordStore,
        me: Identity,
        journal: Journal,
        on_lost: Callable[[calls.CallSession], None],
    ) -> None:
        self._store = store
        self._me = me
        self._journal = journal
        self._copies: dict[str, calls.CallSession] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._on_lost = on_lost

    @property
    def is_away(self) -> bool:
        """Tell whether Redis does not respond, or still lacks changes made while it was away."""
        return self._journal.is_open

    @property
    def owned(self) -> Collection[calls.CallSession]:
        """The calls of this edge, as last saved. Treat them as read-only."""
        return self._copies.values()

    def is_mine(self, record: calls.CallSession) -> bool:
        """Tell whether the record names this process as owner."""
        return record.owner.name == self._me.name and record.owner.incarnation == self._me.incarnation

    def copy_of(self, call_id: str) -> calls.CallSession | None:
        """Give the copy of an owned call, as last saved. Treat it as read-only."""
        return self._copies.get(call_id)

    async def create(self, record: calls.CallSession) -> Created | Existing:
        """Create a record unless the call id has one."""
        if self.is_away:
            raise StoreUnavailable("Redis is away")
        try:
            outcome = await self._store.create(record)
        except StoreUnavailable as error:
            self._journal.open(str(error))
            raise
        if isinstance(outcome, Created):
            self._note(outcome.session)
        return outcome

    async def load(self, call_id: str) -> calls.CallSession | None:
        """Return the record in Redis; None without one."""
        held = self._copies.get(call_id) or self._journal.get(call_id)
        if held is not None:
            return held
        if self.is_away:
            raise StoreUnavailable("Redis is away")
        return await self._store.load(call_id)

    async def reload(self, call_id: str) -> calls.CallSession | None:
        """Read the record from Redis, and update the copy; while Redis is away, give the copy."""
        try:
            current = await self._store.load(call_id) if not self.is_away else self._copies.get(call_id)
        except StoreUnavailable:
            return self._copies.get(call_id)
        if current is not None:
            self._note(current)
        return current

    async def update(
        self, call_id: str, change: Change, *, as_owner: bool = False, known: calls.CallSession | None = None
    ) -> calls.CallSession:
        """Change a record by compare-and-set; if another change came first, try again on the newer record.

        `as_owner`: only while this edge owns the call. Raises CallOver if `change` declines, RecordMissing,
        StoreUnavailable.
        """
        return (await self.replace(call_id, change, as_owner=as_owner, known=known)).after

    async def replace(
        self, call_id: str, change: Change, *, as_owner: bool = False, known: calls.CallSession | None = None
    ) -> Replaced:
        """Do what `update` does, and give the record before and after."""
        async with self._lock(call_id):
            base = self._copies.get(call_id) or known or await self.load(call_id)
            for _ in range(_MAX_RACES):
                if base is None:
                    raise RecordMissing(call_id)
                draft = _copy(base)
                if (as_owner and not self.is_mine(base)) or not change(draft):
                    raise CallOver(call_id, base)
                if not is_legal(base.state, draft.state):
                    raise CallOver(call_id, base)
                try:
                    return Replaced(base, await self._write(draft))
                except VersionConflict as conflict:
                    base = await self._newest(draft, conflict)
            raise CallOver(call_id, base)

    async def learn_way(self, call_id: str, target: str) -> None:
        """Note that a remote target does not respond, but the source of the INVITE does.

        If it cannot be noted, the next request tries both again.
        """
        with contextlib.suppress(CallOver, RecordMissing, StoreUnavailable):
            await self.update(call_id, lambda draft: sequencing.note_silent_target(draft, target))

    async def claim(self, record: calls.CallSession) -> calls.CallSession | None:
        """Make this edge the owner of another edge's call; None: this edge or another was first."""
        async with self._lock(record.call_id):
            if self.is_mine(record) or record.call_id in self._copies:
                return None
            try:
                claimed = await self._store.claim(record, self._me)
            except VersionConflict as conflict:
                if conflict.current is not None:
                    self._note(conflict.current)
                return None
            self._note(claimed)
            return claimed

    async def restore_all(self) -> None:
        """Publish every owned call that Redis lost or has an older version of."""
        await self._journal.publish(list(self._copies.values()), self._store, self._note)

    async def replay(self) -> None:
        """Publish what Redis missed; then it counts as back. Raises StoreUnavailable."""
        await self._journal.replay(self._store, self._note)

    async def _write(self, draft: calls.CallSession) -> calls.CallSession:
        is_end = draft.state == calls.CALL_STATE_ENDED
        if not self.is_away:
            try:
                saved = await (self._store.end(draft) if is_end else self._store.save(draft))
            except StoreUnavailable as error:
                self._journal.open(str(error))
            else:
                self._note(saved)
                return saved
        if not self.is_mine(draft):
            raise StoreUnavailable("Redis is away, and another edge owns the call")
        draft.version += 1
        if is_end and not draft.ended_ms:
            draft.ended_ms = time.time_ns() // 1_000_000  # Redis' clock cannot be read
        self._journal.add(draft)
        self._note(draft)
        return draft

    async def _newest(self, draft: calls.CallSession, conflict: VersionConflict) -> calls.CallSession | None:
        if conflict.current is not None:
            self._note(conflict.current)
            return conflict.current
        mine = self._copies.get(draft.call_id)
        if mine is None:
            return None
        return await self._store.restore(mine)  # Redis lost data, so our copy is the record

    def _note(self, record: calls.CallSession) -> None:
        """Keep the copy of an owned live call; drop any other."""
        call_id = record.call_id
        was_mine = call_id in self._copies
        if self.is_mine(record) and record.state != calls.CALL_STATE_ENDED:
            self._copies[call_id] = record
        elif was_mine:
            del self._copies[call_id]
            self._on_lost(record)
        metrics.CALLS.set(len(self._copies))

    def _lock(self, call_id: str) -> asyncio.Lock:
        lock = self._locks.get(call_id)
        if lock is None:
            lock = self._locks[call_id] = asyncio.Lock()
        return lock


def _copy(record: calls.CallSession) -> calls.CallSession:
    copy = calls.CallSession()
    copy.CopyFrom(record)
    return copy
