import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.api.calls.v1.session_pb2 import (
    CALL_STATE_ENDED,
    CALL_STATE_ENDING,
    CALL_STATE_ESTABLISHED,
    CALL_STATE_INVITED,
    CALL_STATE_PLACED,
    CallSession,
)
from sipgw.calls import (
    TOMBSTONE_MS,
    CallStore,
    Created,
    Existing,
    IllegalTransition,
    VersionConflict,
    random_call_id,
    to_record,
)
from sipgw.calls.record import HEADER_LENGTH, decode_record, encode_record
from sipgw.runtime.settings import Identity
from sipgw.store import Store, StoreUnavailable, partition_of
from sipgw.store.testing import RedisServer

EDGE_A = Identity("edge-0", "aaaa")
EDGE_B = Identity("edge-1", "bbbb")


@pytest.fixture
def calls(store: Store) -> CallStore:
    return CallStore(store)


def invited(owner: Identity = EDGE_A, call_id: str | None = None) -> CallSession:
    session = CallSession(
        call_id=call_id or random_call_id(), state=CALL_STATE_INVITED, owner=to_record(owner), owner_epoch=1
    )
    leg = session.legs.add(leg_id="a", local_sdp=b"v=0", remote_sdp=b"v=0")
    leg.dialog.sip_call_id = "0815@caller"
    leg.invite.branch = "z9hG4bK-1"
    return session


async def created(calls: CallStore, session: CallSession | None = None) -> CallSession:
    answer = await calls.create(session or invited())
    assert isinstance(answer, Created)
    return answer.session


async def test_a_created_call_is_read_back_with_version_1(calls: CallStore) -> None:
    session = invited()
    assert await calls.load(session.call_id) is None
    made = await created(calls, session)
    assert made.version == 1
    assert session.version == 0
    assert await calls.load(session.call_id) == made


async def test_of_many_that_create_one_call_one_wins_and_the_others_see_it(calls: CallStore) -> None:
    call_id = random_call_id()
    answers = await asyncio.gather(
        *(calls.create(invited(Identity(f"edge-{n}", "x"), call_id)) for n in range(20))
    )
    winners = [answer for answer in answers if isinstance(answer, Created)]
    assert len(winners) == 1
    assert all(a.session == winners[0].session for a in answers if isinstance(a, Existing))


async def test_save_raises_the_version_and_leaves_its_argument_alone(calls: CallStore) -> None:
    first = await created(calls)
    changed = CallSession()
    changed.CopyFrom(first)
    changed.state = CALL_STATE_PLACED
    saved = await calls.save(changed)
    assert (changed.version, saved.version) == (1, 2)
    assert await calls.load(first.call_id) == saved


async def test_saving_from_an_old_version_conflicts_and_tells_the_present_one(calls: CallStore) -> None:
    first = await created(calls)
    second = await calls.save(first)
    with pytest.raises(VersionConflict) as lost:
        await calls.save(first)
    assert lost.value.current == second


async def test_saving_a_call_whose_record_is_gone_conflicts_with_nothing(
    calls: CallStore, redis_server: RedisServer
) -> None:
    session = await created(calls)
    redis_server.flush()
    with pytest.raises(VersionConflict) as lost:
        await calls.save(session)
    assert lost.value.current is None


async def test_concurrent_updaters_lose_no_update(calls: CallStore) -> None:
    session = await created(calls)

    def count(current: CallSession) -> CallSession:
        current.deadline_ms += 1
        return current

    async def updater() -> None:
        for _ in range(5):
            assert await calls.update(session.call_id, count) is not None

    await asyncio.gather(*(updater() for _ in range(20)))
    after = await calls.load(session.call_id)
    assert after is not None
    assert (after.deadline_ms, after.version) == (100, 101)


async def test_update_starts_from_what_is_known_and_reads_again_when_that_is_old(calls: CallStore) -> None:
    first = await created(calls)
    await calls.save(first)
    seen: list[int] = []

    def note(current: CallSession) -> CallSession:
        seen.append(current.version)
        return current

    saved = await calls.update(first.call_id, note, known=first)
    assert seen == [1, 2]
    assert saved is not None
    assert saved.version == 3


async def test_update_that_declines_leaves_the_record(calls: CallStore) -> None:
    session = await created(calls)
    assert await calls.update(session.call_id, lambda _: None) is None
    assert await calls.update(random_call_id(), lambda current: current) is None
    assert await calls.load(session.call_id) == session


async def test_an_illegal_step_is_refused_by_save_and_by_update(calls: CallStore) -> None:
    session = await created(calls)

    def establish(current: CallSession) -> CallSession:
        current.state = CALL_STATE_ESTABLISHED
        return current

    with pytest.raises(IllegalTransition):
        await calls.update(session.call_id, establish)
    with pytest.raises(IllegalTransition) as refused:
        await calls.save(establish(session))
    assert refused.value.before == CALL_STATE_INVITED
    held = await calls.load(session.call_id)
    assert held is not None
    assert held.version == 1


async def test_an_ended_call_leaves_a_tombstone_that_expires(calls: CallStore, store: Store) -> None:
    session = await created(calls)
    ended = await calls.end(session)
    assert ended.state == CALL_STATE_ENDED
    assert abs(ended.ended_ms - store.now_ms()) < 1000
    assert await calls.load(session.call_id) == ended
    key = f"sipgw:{{p{partition_of(session.call_id):02d}}}:call:{session.call_id}"
    lives_ms = await store.command("PTTL", key)
    assert TOMBSTONE_MS - 2000 < lives_ms <= TOMBSTONE_MS == 40_000


async def test_a_live_call_never_expires(calls: CallStore, store: Store) -> None:
    session = await created(calls)
    key = f"sipgw:{{p{partition_of(session.call_id):02d}}}:call:{session.call_id}"
    assert await store.command("PTTL", key) == -1


async def test_an_ended_call_comes_back_to_no_state(calls: CallStore) -> None:
    ended = await calls.end(await created(calls))
    ended.state = CALL_STATE_ENDING
    with pytest.raises(IllegalTransition):
        await calls.save(ended)


async def test_the_owner_index_follows_create_claim_and_end(calls: CallStore) -> None:
    session = await created(calls)
    partition = partition_of(session.call_id)
    assert await calls.owned_by(EDGE_A, partition) == [session]
    claimed = await calls.claim(session, EDGE_B)
    assert (claimed.owner.name, claimed.owner_epoch) == ("edge-1", 2)
    assert await calls.owned_by(EDGE_A, partition) == []
    assert await calls.owners(partition) == {session.call_id: EDGE_B}
    await calls.end(claimed)
    assert await calls.owners(partition) == {}


async def test_a_call_that_was_claimed_after_the_index_was_read_is_no_longer_owned(
    calls: CallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await created(calls)
    owners = calls.owners

    async def read_before_a_claim(partition: int) -> dict[str, Identity]:
        found = await owners(partition)
        await calls.claim(session, EDGE_B)
        return found

    monkeypatch.setattr(calls, "owners", read_before_a_claim)
    assert await calls.owned_by(EDGE_A, partition_of(session.call_id)) == []


async def test_of_two_that_claim_one_wins(calls: CallStore) -> None:
    session = await created(calls)
    answers = await asyncio.gather(
        calls.claim(session, EDGE_B), calls.claim(session, Identity("edge-2", "c")), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["CallSession", "VersionConflict"]


async def test_an_owner_that_was_frozen_can_not_save_after_a_claim(calls: CallStore) -> None:
    session = await created(calls)
    claimed = await calls.claim(session, EDGE_B)
    with pytest.raises(VersionConflict) as lost:
        await calls.save(session)
    assert lost.value.current == claimed


async def test_restore_publishes_what_is_missing_with_its_version(
    calls: CallStore, redis_server: RedisServer
) -> None:
    session = await calls.save(await created(calls))
    redis_server.flush()
    assert await calls.restore(session) == session
    assert await calls.load(session.call_id) == session
    assert await calls.owned_by(EDGE_A, partition_of(session.call_id)) == [session]
    assert (await calls.save(session)).version == 3


async def test_restore_yields_to_a_higher_version_and_to_a_higher_owner_epoch(calls: CallStore) -> None:
    old = await created(calls)
    newer = await calls.save(old)
    assert await calls.restore(old) == newer
    claimed = await calls.claim(newer, EDGE_B)
    stale = CallSession()
    stale.CopyFrom(newer)
    stale.version = 99  # written by the frozen owner to its journal
    assert await calls.restore(stale) == claimed
    assert await calls.load(old.call_id) == claimed


async def test_restore_replaces_what_is_older(calls: CallStore) -> None:
    old = await created(calls)
    journalled = CallSession()
    journalled.CopyFrom(old)
    journalled.version = 5
    assert await calls.restore(journalled) == journalled
    assert await calls.load(old.call_id) == journalled


async def test_a_save_is_one_round_trip(calls: CallStore, redis_server: RedisServer) -> None:
    session = await calls.save(await created(calls))
    redis_server.ask(b"CONFIG RESETSTAT")
    await calls.save(session)
    assert b"cmdstat_evalsha:calls=1," in (statistics := redis_server.ask(b"INFO commandstats"))
    assert b"cmdstat_eval:" not in statistics


async def test_without_redis_every_method_says_so(calls: CallStore, redis_server: RedisServer) -> None:
    session = await created(calls)
    redis_server.stop()
    for attempt in (
        calls.create(invited()),
        calls.load(session.call_id),
        calls.save(session),
        calls.restore(session),
        calls.owners(0),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt


async def test_a_save_repeated_after_its_answer_was_lost_is_the_same_save(
    calls: CallStore, store: Store, redis_server: RedisServer
) -> None:
    session = await created(calls)
    saving = asyncio.create_task(calls.save(session))
    await asyncio.sleep(0)  # now the command is queued
    await asyncio.sleep(0)
    redis_server.ask(b"CLIENT KILL TYPE normal SKIPME yes")
    saved = await saving
    assert saved.version == 2
    assert await calls.load(session.call_id) == saved
    stream = f"sipgw:{{p{partition_of(session.call_id):02d}}}:stream"
    assert await store.command("XLEN", stream) == 2


async def test_fields_of_a_newer_release_survive_a_save(calls: CallStore) -> None:
    unknown = b"\xfa\x7f\x03new"  # field 2047, length-delimited
    session = CallSession.FromString(invited().SerializeToString() + unknown)
    saved = await calls.save(await created(calls, session))
    loaded = await calls.load(saved.call_id)
    assert loaded is not None
    assert unknown in loaded.SerializeToString()


def test_a_record_is_its_header_and_the_session() -> None:
    session = invited(call_id="ab" * 16)
    session.version = 26
    record = encode_record(session)
    assert record[:24] == b"00000001000000000000001a"
    assert record[HEADER_LENGTH - 1 : HEADER_LENGTH] == b"1"
    assert decode_record(record) == session
    assert decode_record(None) is None


@given(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**63)),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**63)),
)
def test_headers_order_as_owner_epoch_and_version_do(one: tuple[int, int], other: tuple[int, int]) -> None:
    headers = [
        encode_record(CallSession(owner_epoch=epoch, version=version))[:24] for epoch, version in (one, other)
    ]
    assert (headers[0] < headers[1]) == (one < other)
