import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_ENDED, CALL_STATE_INVITED, CallSession
from sipgw.api.edge.v1 import edge_pb2, edge_pb2_grpc
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.calls import CallStore, Created, EdgeLeases, random_call_id, to_record
from sipgw.calls.call_scripts import STREAM_RETENTION_MS
from sipgw.registry.resource_version import ResourceVersion
from sipgw.runtime.patience import patient
from sipgw.runtime.settings import Identity
from sipgw.store import PARTITIONS, Store, partition_of
from sipgw.store.testing import RedisServer

EDGE = Identity("edge-0", "aaaa")
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


async def created(store: Store, call_id: str | None = None, **fields: str) -> CallSession:
    session = CallSession(
        call_id=call_id or random_call_id(), state=CALL_STATE_INVITED, owner=to_record(EDGE), **fields
    )  # type: ignore[arg-type]
    session.legs.add(leg_id="a").dialog.sip_call_id = "0815@caller"
    answer = await CallStore(store).create(session)
    assert isinstance(answer, Created)
    return answer.session


async def listed(replica: Any, *, include_ended: bool = False) -> dict[str, int]:
    answer = await replica.calls.ListCalls(pb.ListCallsRequest(include_ended=include_ended))
    return {summary.call_id: summary.version for summary in answer.calls}


async def resource_version(replica: Any) -> str:
    return (await replica.calls.ListCalls(pb.ListCallsRequest())).resource_version


async def refused(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code()


def assert_is_being_read_again(error: grpc.aio.AioRpcError) -> None:
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def told(watch: Any, count: int) -> list[tuple[str, int]]:
    """Return the next `count` changes of a watch."""
    changes: list[tuple[str, int]] = []
    async with asyncio.timeout(patient(20)):
        while len(changes) < count:
            changes += [(summary.call_id, summary.version) for summary in (await watch.read()).changed]
    return changes


async def test_calls_saved_before_and_after_the_start_are_listed(
    store: Store, start_replica: Any, eventually: Eventually
) -> None:
    early = await created(store, route="sales", from_display="alice", to_display="bob", trunk="carrier")
    replica = await start_replica()
    assert await listed(replica) == {early.call_id: 1}
    late = await created(store)

    async def both() -> bool:
        return await listed(replica) == {early.call_id: 1, late.call_id: 1}

    await eventually(both)
    (summary,) = [
        s for s in (await replica.calls.ListCalls(pb.ListCallsRequest())).calls if s.call_id == early.call_id
    ]
    assert (getattr(summary, "from"), summary.to, summary.trunk, summary.route) == (
        "alice",
        "bob",
        "carrier",
        "sales",
    )
    assert (summary.owner.name, summary.sip_call_id) == ("edge-0", "0815@caller")
    count = await replica.calls.CountCalls(pb.CountCallsRequest())
    assert (count.live, dict(count.by_route)) == (2, {"sales": 1})


async def test_edges_are_listed_while_their_lease_lasts(replica: Any, store: Store) -> None:
    leases, identity = EdgeLeases(store), Identity("edge-0", "i0")
    await leases.beat(identity, "10.0.0.1:7060")
    (edge,) = (await replica.calls.ListEdges(pb.ListEdgesRequest())).edges
    assert (edge.edge.name, edge.edge.incarnation, edge.grpc_address) == ("edge-0", "i0", "10.0.0.1:7060")
    await leases.give_up(identity)
    assert not (await replica.calls.ListEdges(pb.ListEdgesRequest())).edges


async def test_an_ended_call_is_listed_on_demand(replica: Any, store: Store, eventually: Eventually) -> None:
    ended = await CallStore(store).end(await created(store))

    async def is_listed() -> bool:
        return await listed(replica, include_ended=True) == {ended.call_id: 2}

    await eventually(is_listed)
    assert await listed(replica) == {}


async def test_get_finds_a_call_that_the_map_does_not_have_yet(replica: Any, store: Store) -> None:
    session = await created(store)
    answer = await replica.calls.GetCall(pb.GetCallRequest(call_id=session.call_id))
    assert answer.call.call_id == session.call_id
    for unknown in (random_call_id(), "", "../etc", "Z" * 32):
        call = replica.calls.GetCall(pb.GetCallRequest(call_id=unknown))
        assert await refused(call) is grpc.StatusCode.NOT_FOUND


async def test_a_watch_goes_on_where_the_list_ended(replica: Any, store: Store) -> None:
    session = await created(store)
    version = await resource_version(replica)
    watch = replica.calls.WatchCalls(pb.WatchCallsRequest(resource_version=version))
    calls = CallStore(store)
    session = await calls.save(session)
    await calls.end(session)
    last = await told(watch, 2)
    assert last[-2:] == [(session.call_id, 2), (session.call_id, 3)]
    watch.cancel()


async def test_a_watch_without_a_version_begins_with_all_calls(
    replica: Any, store: Store, eventually: Eventually
) -> None:
    session = await created(store)

    async def is_listed() -> bool:
        return bool(await listed(replica))

    await eventually(is_listed)
    watch = replica.calls.WatchCalls(pb.WatchCallsRequest())
    assert await told(watch, 1) == [(session.call_id, 1)]
    watch.cancel()


async def test_a_version_of_one_replica_is_valid_at_another_and_nothing_is_missed(
    store: Store, start_replica: Any
) -> None:
    """The watcher's replica dies; what was saved meanwhile comes from the streams, each change once."""
    first, second = await start_replica(), await start_replica()
    version = await resource_version(first)
    sessions = [await created(store) for _ in range(30)]
    for session in sessions:
        await CallStore(store).save(session)
    watch = second.calls.WatchCalls(pb.WatchCallsRequest(resource_version=version))
    expected = {(session.call_id, number) for session in sessions for number in (1, 2)}
    changes = await told(watch, len(expected))
    assert len(changes) == len(expected)
    assert set(changes) == expected
    watch.cancel()


async def test_a_watch_resumed_from_its_own_last_version_repeats_nothing(replica: Any, store: Store) -> None:
    version = await resource_version(replica)
    watch = replica.calls.WatchCalls(pb.WatchCallsRequest(resource_version=version))
    session = await created(store)
    response = await watch.read()
    assert [summary.version for summary in response.changed] == [1]
    watch.cancel()
    resumed = replica.calls.WatchCalls(pb.WatchCallsRequest(resource_version=response.resource_version))
    await CallStore(store).save(session)
    assert await told(resumed, 1) == [(session.call_id, 2)]
    resumed.cancel()


async def test_a_version_whose_changes_were_trimmed_means_list_again(replica: Any, store: Store) -> None:
    epoch = ResourceVersion.parse(await resource_version(replica)).epoch
    session = await created(store)
    old = f"{store.now_ms() - STREAM_RETENTION_MS - 10_000}-0"
    positions = ["0-0"] * PARTITIONS
    positions[partition_of(session.call_id)] = old

    async def watch_is_out_of_range() -> bool:
        watch = replica.calls.WatchCalls(
            pb.WatchCallsRequest(resource_version=str(ResourceVersion(epoch, tuple(positions))))
        )
        return await refused(watch.read()) is grpc.StatusCode.OUT_OF_RANGE

    async with asyncio.timeout(patient(10)):
        while not await listed(replica):  # noqa: ASYNC110 - polls a service
            await asyncio.sleep(0.02)
    assert await watch_is_out_of_range()


async def test_a_version_of_lost_data_means_list_again(
    replica: Any, store: Store, redis_server: RedisServer, eventually: Eventually
) -> None:
    version = await resource_version(replica)
    watch = replica.calls.WatchCalls(pb.WatchCallsRequest(resource_version=version))
    redis_server.flush()
    assert await refused(watch.read()) is grpc.StatusCode.OUT_OF_RANGE  # the watch that was open
    again = replica.calls.WatchCalls(pb.WatchCallsRequest(resource_version=version))
    assert await refused(again.read()) in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNAVAILABLE)


async def test_a_version_that_is_none_is_an_invalid_argument(replica: Any) -> None:
    watch = replica.calls.WatchCalls(pb.WatchCallsRequest(resource_version="yesterday"))
    assert await refused(watch.read()) is grpc.StatusCode.INVALID_ARGUMENT


async def test_two_replicas_agree_after_a_storm_of_saves(
    store: Store, start_replica: Any, eventually: Eventually
) -> None:
    first = await start_replica()
    calls = CallStore(store)

    async def life(number: int) -> None:
        session = await created(store)
        for _ in range(number % 5):
            session = await calls.save(session)
        if number % 3 == 0:
            await calls.end(session)

    storm = asyncio.gather(*(life(number) for number in range(150)))
    second = await start_replica()  # it starts during the storm
    await storm

    async def agree() -> bool:
        one, other = await listed(first, include_ended=True), await listed(second, include_ended=True)
        return one == other and len(one) == 150

    await eventually(agree)
    assert await listed(first) == await listed(second)
    assert len(await listed(first)) == 100


async def test_a_redis_that_stops_and_starts_empty_gets_its_calls_back_from_the_owners(
    start_replica: Any, store: Store, redis_server: RedisServer, eventually: Eventually
) -> None:
    replica = await start_replica(grace_s=2.0)
    sessions = [await created(store) for _ in range(20)]

    async def has(count: int) -> bool:
        try:
            return len(await listed(replica)) == count
        except grpc.aio.AioRpcError as error:
            assert_is_being_read_again(error)
            return False

    await eventually(lambda: has(20))
    redis_server.stop()
    assert await has(20)  # still served
    redis_server.start()
    calls = CallStore(store)
    for session in sessions[:15]:
        await calls.restore(session)
    ended = await calls.end(sessions[0])
    await eventually(lambda: has(14))  # the five that nobody published again go when the grace ends
    assert ended.call_id not in await listed(replica)


async def test_after_flushall_new_calls_are_seen(
    replica: Any, store: Store, redis_server: RedisServer, eventually: Eventually
) -> None:
    await created(store)
    redis_server.flush()
    fresh = await created(store)

    async def is_listed() -> bool:
        try:
            return fresh.call_id in await listed(replica)
        except grpc.aio.AioRpcError as error:
            assert_is_being_read_again(error)
            return False

    await eventually(is_listed)


async def nothing() -> None:
    """Do nothing; a test may give an edge something else to do before it answers."""


class Edge(edge_pb2_grpc.EdgeServiceServicer):
    """An edge that knows some calls."""

    def __init__(self, calls: set[str]) -> None:
        self.calls = calls
        self.banned: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.before_answer: Callable[[], Awaitable[None]] = nothing

    async def Deliver(self, request: Any, context: Any) -> edge_pb2.DeliverResponse:
        raise NotImplementedError

    async def Hangup(self, request: edge_pb2.HangupRequest, context: Any) -> edge_pb2.HangupResponse:
        self.asked.append((request.call_id, request.reason))
        found = request.call_id in self.calls
        await self.before_answer()
        return edge_pb2.HangupResponse(found=found)

    async def ListBans(self, request: edge_pb2.ListBansRequest, context: Any) -> edge_pb2.ListBansResponse:
        bans = [edge_pb2.Ban(source=one, reason="too much", until_ms=9, refused=3) for one in self.banned]
        return edge_pb2.ListBansResponse(bans=bans)

    async def LiftBan(self, request: edge_pb2.LiftBanRequest, context: Any) -> edge_pb2.LiftBanResponse:
        if request.source == "nonsense":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no source")
        found = request.source in self.banned
        self.banned.discard(request.source)
        return edge_pb2.LiftBanResponse(found=found)


@pytest.fixture
async def edge(store: Store) -> Any:
    servicer = Edge(set())
    server = grpc.aio.server()
    edge_pb2_grpc.add_EdgeServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await EdgeLeases(store).beat(EDGE, f"127.0.0.1:{port}")
    yield servicer
    await server.stop(0)


async def test_hangup_asks_the_owner_edge(replica: Any, store: Store, edge: Edge) -> None:
    session = await created(store)
    edge.calls.add(session.call_id)
    await replica.calls.HangupCall(pb.HangupCallRequest(call_id=session.call_id, reason="over"))
    assert edge.asked == [(session.call_id, "over")]


async def test_hangup_of_what_is_not_there_or_has_ended_is_not_found(
    replica: Any, store: Store, edge: Edge
) -> None:
    ended = await CallStore(store).end(await created(store))
    for call_id in (ended.call_id, random_call_id(), "nonsense"):
        call = replica.calls.HangupCall(pb.HangupCallRequest(call_id=call_id))
        assert await refused(call) is grpc.StatusCode.NOT_FOUND
    assert edge.asked == []


async def test_hangup_of_a_call_whose_owner_is_gone_says_try_again(replica: Any, store: Store) -> None:
    session = await created(store)
    call = replica.calls.HangupCall(pb.HangupCallRequest(call_id=session.call_id))
    assert await refused(call) is grpc.StatusCode.UNAVAILABLE


async def test_hangup_follows_a_call_that_was_claimed_meanwhile(
    replica: Any, store: Store, edge: Edge
) -> None:
    session = await created(store)
    other = Identity("edge-1", "bbbb")
    leases = await EdgeLeases(store).live()
    await EdgeLeases(store).beat(other, leases[0].grpc_address)

    async def claim_meanwhile() -> None:
        edge.before_answer = nothing
        edge.calls.add(session.call_id)
        await CallStore(store).claim(session, other)

    edge.before_answer = claim_meanwhile
    await replica.calls.HangupCall(pb.HangupCallRequest(call_id=session.call_id))
    assert len(edge.asked) == 2


async def test_bans_are_those_of_all_edges_and_who_does_not_answer_is_named(
    replica: Any, store: Store, edge: Edge
) -> None:
    edge.banned = {"203.0.113.7"}
    leases = await EdgeLeases(store).live()
    await EdgeLeases(store).beat(Identity("edge-1", "bbbb"), leases[0].grpc_address)
    await EdgeLeases(store).beat(Identity("edge-2", "cccc"), "127.0.0.1:1")
    found = await replica.calls.ListBans(pb.ListBansRequest())
    assert [(ban.source, ban.reason, ban.refused, ban.edge) for ban in found.bans] == [
        ("203.0.113.7", "too much", 3, EDGE.name),
        ("203.0.113.7", "too much", 3, "edge-1"),
    ]
    assert found.silent_edges == ["edge-2"]


async def test_a_ban_is_lifted_at_the_edges_that_have_it(replica: Any, store: Store, edge: Edge) -> None:
    edge.banned = {"203.0.113.7"}
    lifted = await replica.calls.LiftBan(pb.LiftBanRequest(source="203.0.113.7"))
    assert (lifted.edges, lifted.silent_edges) == ([EDGE.name], [])
    for source, code in (
        ("203.0.113.7", grpc.StatusCode.NOT_FOUND),
        ("nonsense", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        assert await refused(replica.calls.LiftBan(pb.LiftBanRequest(source=source))) is code


async def test_the_state_of_an_ended_call_is_told(replica: Any, store: Store, eventually: Eventually) -> None:
    ended = await CallStore(store).end(await created(store))

    async def is_told() -> bool:
        call = (await replica.calls.GetCall(pb.GetCallRequest(call_id=ended.call_id))).call
        return (call.state, call.ended_ms) == (CALL_STATE_ENDED, ended.ended_ms)

    await eventually(is_told)
