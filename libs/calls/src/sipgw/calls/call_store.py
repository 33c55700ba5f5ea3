"""CallStore: create, read and save calls in Redis. Every write is one script, one round trip.

It keeps no copy: the owner edge has the write-through copy and the journal of unsaved changes.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_ENDED, CallSession, CallState
from sipgw.calls import call_scripts
from sipgw.calls.errors import IllegalTransition, VersionConflict
from sipgw.calls.identities import identity_of, to_record
from sipgw.calls.record import (
    TOMBSTONE_MS,
    decode_record,
    encode_record,
    is_ended,
    state_text,
    transition_of,
    version_text,
)
from sipgw.calls.transitions import is_legal, states_before
from sipgw.runtime.settings import Identity
from sipgw.store import Store, partition_key, partition_of

_UPDATE_ATTEMPTS: Final = 64
_MAX_BACKOFF_S: Final = 0.05
_STATES_BEFORE: Final = {
    state: "".join(sorted(state_text(before) for before in states_before(state)))
    for state in CallState.values()
}


@dataclass(frozen=True, slots=True)
class Created:
    """The record was created; `session.version` is 1."""

    session: CallSession


@dataclass(frozen=True, slots=True)
class Existing:
    """The call id already had a record, perhaps a tombstone; `session` is what Redis holds."""

    session: CallSession


class CallStore:
    """The calls in Redis. All methods raise StoreUnavailable when Redis does not answer within a second."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, session: CallSession) -> Created | Existing:
        """Create the record unless the call id has one."""
        made = _copy(session)
        made.version = 1
        held: bytes | None = await self._store.run(
            call_scripts.CREATE, _keys(made.call_id), _write_args(made)
        )
        existing = decode_record(held)
        return Created(made) if existing is None else Existing(existing)

    async def load(self, call_id: str) -> CallSession | None:
        """Return the record or the tombstone of a call; None when there is neither."""
        return decode_record(await self._store.command("GET", _record_key(call_id)))

    async def load_many(self, partition: int, call_ids: Sequence[str]) -> list[CallSession]:
        """Return the records of `call_ids`, which are all of `partition`; missing ones are left out."""
        if not call_ids:
            return []
        held: list[bytes | None] = await self._store.command("MGET", *map(_record_key, call_ids))
        return [session for session in map(decode_record, held) if session is not None]

    async def save(self, session: CallSession) -> CallSession:
        """Save `session` if Redis still holds `session.version`; return it with version + 1.

        The argument is not changed. Raises VersionConflict, IllegalTransition.
        """
        saved = _copy(session)
        saved.version += 1
        if is_ended(saved):
            saved.ended_ms = saved.ended_ms or self._store.now_ms()
        args = [*_write_args(saved), version_text(session.version), _STATES_BEFORE[saved.state]]
        answer: list[bytes | None] = await self._store.run(call_scripts.SAVE, _keys(saved.call_id), args)
        match answer[0]:
            case b"conflict":
                raise VersionConflict(saved.call_id, decode_record(answer[1]))
            case b"illegal":
                raise IllegalTransition(saved.call_id, CallState.ValueType(int(answer[1] or 0)), saved.state)
            case _:
                return saved

    async def end(self, session: CallSession) -> CallSession:
        """Save `session` as a tombstone, which expires after 64*T1 + 8 s. Raises VersionConflict."""
        ended = _copy(session)
        ended.state = CALL_STATE_ENDED
        return await self.save(ended)

    async def restore(self, session: CallSession) -> CallSession:
        """Publish `session` after data loss, if Redis holds none or an older one by (owner_epoch, version).

        Return what Redis holds then. The version does not rise.
        """
        held: bytes | None = await self._store.run(
            call_scripts.RESTORE, _keys(session.call_id), _write_args(session)
        )
        return decode_record(held) or session

    async def update(
        self,
        call_id: str,
        change: Callable[[CallSession], CallSession | None],
        *,
        known: CallSession | None = None,
    ) -> CallSession | None:
        """Apply `change` to the newest record and save it; repeat when another save came first.

        `change` gets a copy, which it may alter and return; it may be called several times. When it returns
        None the record stays as it is. Pass `known` to save the first read. Return what was saved; None when
        nothing was, or when there is no such call. Raises IllegalTransition, and VersionConflict when other
        saves keep winning.
        """
        current = known if known is not None else await self.load(call_id)
        for attempt in range(_UPDATE_ATTEMPTS):
            if current is None:
                return None
            wanted = change(_copy(current))
            if wanted is None:
                return None
            if not is_legal(current.state, wanted.state):
                raise IllegalTransition(call_id, current.state, wanted.state)
            wanted.version = current.version
            try:
                return await self.save(wanted)
            except VersionConflict as conflict:
                current = conflict.current
            if attempt > 0:
                await asyncio.sleep(random.random() * min(_MAX_BACKOFF_S, 0.001 * 2**attempt))
        raise VersionConflict(call_id, current)

    async def claim(self, session: CallSession, new_owner: Identity) -> CallSession:
        """Make `new_owner` the owner and raise owner_epoch.

        Raises VersionConflict when another edge was first.
        """
        claimed = _copy(session)
        claimed.owner.CopyFrom(to_record(new_owner))
        claimed.owner_epoch += 1
        return await self.save(claimed)

    async def owners(self, partition: int) -> dict[str, Identity]:
        """Return the live calls of a partition with the owner of each."""
        flat: list[bytes] = await self._store.command("HGETALL", partition_key(partition, "owners"))
        return {
            call_id.decode(): _read_owner(owner) for call_id, owner in zip(flat[::2], flat[1::2], strict=True)
        }

    async def owned_by(self, identity: Identity, partition: int) -> list[CallSession]:
        """Return the live calls of a partition that `identity` owns.

        The record decides, since another edge may claim a call after the index was read.
        """
        owners = await self.owners(partition)
        sessions = await self.load_many(
            partition, [call_id for call_id, owner in owners.items() if owner == identity]
        )
        return [one for one in sessions if not is_ended(one) and identity_of(one.owner) == identity]

    async def forget(self, call_ids: Iterable[str]) -> None:
        """Remove calls whose record is gone from the owner index."""
        for call_id in call_ids:
            await self._store.run(call_scripts.FORGET, _keys(call_id), [call_id])


def _copy(session: CallSession) -> CallSession:
    copy = CallSession()
    copy.CopyFrom(session)
    return copy


def _record_key(call_id: str) -> str:
    return partition_key(partition_of(call_id), "call", call_id)


def _keys(call_id: str) -> list[str]:
    """Return the keys of every writing script: record, owner index, tombstone index, stream, outbox."""
    partition = partition_of(call_id)
    return [
        partition_key(partition, "call", call_id),
        partition_key(partition, "owners"),
        partition_key(partition, "ended"),
        partition_key(partition, "stream"),
        partition_key(partition, "outbox"),
    ]


def _write_args(session: CallSession) -> list[str | bytes]:
    return [
        encode_record(session),
        session.call_id,
        str(identity_of(session.owner)),
        transition_of(session),
        str(TOMBSTONE_MS) if is_ended(session) else "",
    ]


def _read_owner(text: bytes) -> Identity:
    name, _, incarnation = text.decode().rpartition("/")
    return Identity(name, incarnation)
