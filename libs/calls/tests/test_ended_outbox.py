from collections.abc import Iterable

import pytest

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_ENDED, CALL_STATE_INVITED, CallSession
from sipgw.calls import CallStore, Created, EndedCall, EndedOutbox, random_call_id, to_record
from sipgw.calls.call_scripts import OUTBOX_LENGTH, STREAM_RETENTION_MS
from sipgw.calls.outbox_scripts import OUTBOX_GROUP
from sipgw.runtime.settings import Identity
from sipgw.store import PARTITIONS, Store, StoreProtocolError, partition_key, partition_of

EDGE = Identity("edge-0", "aaaa")
ALL = range(PARTITIONS)
AT_ONCE_MS = 0
NOT_YET_MS = 60_000


async def ended(store: Store, call_id: str | None = None) -> CallSession:
    session = CallSession(
        call_id=call_id or random_call_id(), state=CALL_STATE_INVITED, owner=to_record(EDGE)
    )
    session.legs.add(leg_id="a", remote_sdp=b"v=0" * 99)
    made = await CallStore(store).create(session)
    assert isinstance(made, Created)
    return await CallStore(store).end(made.session)


def ids(ends: Iterable[EndedCall]) -> set[str]:
    return {end.session.call_id for end in ends}


@pytest.fixture
def outbox(store: Store) -> EndedOutbox:
    return EndedOutbox(store, "registry-a")


@pytest.fixture
def other(store: Store) -> EndedOutbox:
    return EndedOutbox(store, "registry-b")


async def test_an_end_saved_before_anybody_took_one_is_taken_without_its_sdp(
    store: Store, outbox: EndedOutbox
) -> None:
    session = await ended(store)
    (end,) = await outbox.take(ALL)
    assert (end.session.call_id, end.session.state) == (session.call_id, CALL_STATE_ENDED)
    assert (end.partition, end.session.ended_ms) == (partition_of(session.call_id), session.ended_ms)
    assert not end.session.legs[0].remote_sdp


async def test_only_ends_are_in_it(store: Store, outbox: EndedOutbox) -> None:
    session = CallSession(call_id=random_call_id(), state=CALL_STATE_INVITED, owner=to_record(EDGE))
    made = await CallStore(store).create(session)
    await CallStore(store).save(made.session)
    assert await outbox.take(ALL) == []


async def test_two_consumers_share_the_ends_and_get_none_twice(
    store: Store, outbox: EndedOutbox, other: EndedOutbox
) -> None:
    first = {(await ended(store)).call_id for _ in range(20)}
    assert ids(await outbox.take(ALL)) == first
    second = {(await ended(store)).call_id for _ in range(20)}
    assert ids(await other.take(ALL)) == second
    assert await outbox.take(ALL) == []


async def test_what_a_dead_consumer_left_another_takes_over_when_it_is_old(
    store: Store, outbox: EndedOutbox, other: EndedOutbox
) -> None:
    session = await ended(store)
    await outbox.take(ALL)
    assert await other.take_over(NOT_YET_MS) == ([], 1)
    taken_over, waiting = await other.take_over(AT_ONCE_MS)
    assert (ids(taken_over), waiting) == ({session.call_id}, 1)


async def test_what_is_acknowledged_is_gone_for_everybody(
    store: Store, outbox: EndedOutbox, other: EndedOutbox
) -> None:
    for _ in range(5):
        await ended(store)
    await outbox.acknowledge(await outbox.take(ALL))
    assert await other.take_over(AT_ONCE_MS) == ([], 0)
    assert await other.take(ALL) == []


async def test_an_end_waits_longer_than_the_stream_of_saves_keeps_entries(
    store: Store, outbox: EndedOutbox
) -> None:
    """Each save trims the stream by age; the outbox is trimmed only by its length."""
    old_ms = store.now_ms() - 10 * STREAM_RETENTION_MS
    session = CallSession(call_id="07" + "0" * 30, state=CALL_STATE_ENDED)
    fill = "for i = 0, 149 do redis.call('XADD', KEYS[1], ARGV[1] .. '-' .. i, 't', ARGV[2]) end"
    for name in ("stream", "outbox"):
        await store.command("EVAL", fill, 1, partition_key(7, name), old_ms, session.SerializeToString())
    await ended(store, "07" + "1" * 30)
    assert await store.command("XLEN", partition_key(7, "stream")) < 100  # whole nodes of the stream go
    assert await store.command("XLEN", partition_key(7, "outbox")) == 151
    assert session.call_id in ids(await outbox.take([7]))


async def test_of_more_ends_than_it_holds_the_oldest_go(store: Store, outbox: EndedOutbox) -> None:
    blank = CallSession(call_id="07" + "f" * 30).SerializeToString()
    key = partition_key(7, "outbox")
    fill = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 't', ARGV[2]) end"
    await store.command("EVAL", fill, 1, key, OUTBOX_LENGTH + 500, blank)
    last = await ended(store, "07" + "1" * 30)
    assert OUTBOX_LENGTH <= await store.command("XLEN", key) <= OUTBOX_LENGTH + 100
    newest: list[list[list[bytes]]] = await store.command("XREVRANGE", key, "+", "-", "COUNT", 1)
    assert CallSession.FromString(newest[0][1][1]).call_id == last.call_id


async def test_an_entry_trimmed_while_it_was_pending_does_not_stay_pending(
    store: Store, outbox: EndedOutbox, other: EndedOutbox
) -> None:
    await ended(store, "07" + "0" * 30)
    await outbox.take([7])
    await store.command("XTRIM", partition_key(7, "outbox"), "MAXLEN", 0)
    assert await other.take_over(AT_ONCE_MS) == ([], 0)
    pending: list[object] = await store.command("XPENDING", partition_key(7, "outbox"), OUTBOX_GROUP)
    assert pending[0] == 0


async def test_after_data_loss_the_group_is_made_again(
    store: Store, outbox: EndedOutbox, other: EndedOutbox
) -> None:
    await ended(store)
    await outbox.take(ALL)
    await store.command("FLUSHALL")
    session = await ended(store)
    assert await other.take_over(AT_ONCE_MS) == ([], 1)
    assert ids(await outbox.take(ALL)) == {session.call_id}


async def test_a_consumer_long_gone_is_forgotten_unless_it_owes_an_end(
    store: Store, outbox: EndedOutbox
) -> None:
    for call_id in ("07" + "0" * 30, "08" + "0" * 30):
        await ended(store, call_id)
    await outbox.acknowledge([end for end in await outbox.take(ALL) if end.partition == 8])
    other = EndedOutbox(store, "registry-b", forget_after_ms=0)
    await other.take_over(NOT_YET_MS)
    assert [await consumers(store, partition) for partition in (7, 8)] == [{b"registry-a"}, set()]


async def test_another_type_under_its_key_is_an_error_and_no_loop(store: Store, outbox: EndedOutbox) -> None:
    await store.command("SET", partition_key(7, "outbox"), "x")
    with pytest.raises(StoreProtocolError):
        await outbox.take([7])


async def consumers(store: Store, partition: int) -> set[bytes]:
    facts: list[list[bytes]] = await store.command(
        "XINFO", "CONSUMERS", partition_key(partition, "outbox"), OUTBOX_GROUP
    )
    return {flat[1] for flat in facts}
