import asyncio

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_ENDED, CALL_STATE_INVITED, CallSession
from sipgw.calls import CallStore, CallStream, Created, random_call_id, to_record
from sipgw.calls.call_scripts import STREAM_RETENTION_MS
from sipgw.runtime.settings import Identity
from sipgw.store import PARTITIONS, Store, partition_of

EDGE = Identity("edge-0", "aaaa")
START = dict.fromkeys(range(PARTITIONS), "0-0")


async def created(store: Store, call_id: str | None = None) -> CallSession:
    session = CallSession(
        call_id=call_id or random_call_id(), state=CALL_STATE_INVITED, owner=to_record(EDGE)
    )
    leg = session.legs.add(leg_id="a", local_sdp=b"v=0" * 99, remote_sdp=b"v=0" * 99)
    leg.dialog.sip_call_id = "0815@caller"
    leg.dialog.route_set.append("<sip:proxy;lr>")
    leg.invite.last_final = b"SIP/2.0 200 OK" * 99
    answer = await CallStore(store).create(session)
    assert isinstance(answer, Created)
    return answer.session


async def test_every_save_is_told_in_order_without_sdp_and_sip_bytes(store: Store) -> None:
    session = await created(store)
    await CallStore(store).end(await CallStore(store).save(session))
    told = await CallStream(store).follow(START, block_ms=0)
    assert [transition.session.version for transition in told] == [1, 2, 3]
    assert told[-1].session.state == CALL_STATE_ENDED
    assert {transition.partition for transition in told} == {partition_of(session.call_id)}
    leg = told[0].session.legs[0]
    assert (leg.leg_id, leg.dialog.sip_call_id) == ("a", "0815@caller")
    assert len(told[0].session.SerializeToString()) < 120


async def test_following_waits_for_a_save_in_any_partition(store: Store) -> None:
    waiting = asyncio.create_task(CallStream(store).follow(START, block_ms=5000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    session = await created(store)
    assert [transition.session.call_id for transition in await waiting] == [session.call_id]


async def test_following_returns_empty_when_nothing_is_saved(store: Store) -> None:
    assert await CallStream(store).follow(START, block_ms=20) == []


async def test_a_read_partition_has_live_calls_and_tombstones_and_where_to_go_on(store: Store) -> None:
    calls, stream = CallStore(store), CallStream(store)
    live = await created(store, "07" + "0" * 30)
    ended = await calls.end(await created(store, "07" + "1" * 30))
    await created(store, "08" + "0" * 30)
    read = await stream.read_partition(7)
    assert sorted(read.sessions, key=lambda session: session.call_id) == [live, ended]
    positions = START | {7: read.position}
    assert 7 not in {transition.partition for transition in await stream.follow(positions, block_ms=0)}
    saved = await calls.save(live)
    told = [t for t in await stream.follow(positions, block_ms=0) if t.partition == 7]
    assert [transition.session.version for transition in told] == [saved.version]


async def test_a_partition_without_calls_is_followed_from_now(store: Store) -> None:
    stream = CallStream(store)
    read = await stream.read_partition(7)
    assert read.sessions == []
    assert not await stream.is_trimmed(7, read.position)
    for number in range(20):  # an entry right after a reading is never before its position
        position = (await stream.read_partition(7)).position
        session = await created(store, "07" + f"{number:030x}")
        told = await stream.follow({7: position}, block_ms=0)
        assert [transition.session.call_id for transition in told] == [session.call_id]


async def test_reading_takes_a_call_whose_record_is_gone_out_of_the_owner_index(store: Store) -> None:
    session = await created(store, "07" + "0" * 30)
    await store.command("DEL", f"sipgw:{{p07}}:call:{session.call_id}")
    assert (await CallStream(store).read_partition(7)).sessions == []
    assert await CallStore(store).owners(7) == {}


async def test_a_young_position_and_the_last_one_are_not_trimmed(store: Store) -> None:
    session = await created(store, "07" + "0" * 30)
    stream = CallStream(store)
    position = (await stream.read_partition(7)).position
    await CallStore(store).save(session)
    assert not await stream.is_trimmed(7, position)
    old = f"{store.now_ms() - STREAM_RETENTION_MS - 5000}-0"
    await store.command("XADD", "sipgw:{p08}:stream", old, "t", session.SerializeToString())
    assert not await stream.is_trimmed(8, old)


async def test_an_old_position_before_the_first_entry_may_have_lost_some(store: Store) -> None:
    await created(store, "07" + "0" * 30)
    old = f"{store.now_ms() - STREAM_RETENTION_MS - 5000}-0"
    assert await CallStream(store).is_trimmed(7, old)
    assert not await CallStream(store).is_trimmed(7, f"{store.now_ms()}-0")


async def test_streams_are_trimmed_by_age(store: Store) -> None:
    old = store.now_ms() - STREAM_RETENTION_MS - 60_000
    session = await created(store)
    key = f"sipgw:{{p{partition_of(session.call_id):02d}}}:stream"
    await store.command("DEL", key)
    for n in range(1000):
        await store.command("XADD", key, f"{old + n}-0", "t", b"x")
    await CallStore(store).save(session)
    assert await store.command("XLEN", key) <= 101  # whole nodes of 100 entries go
