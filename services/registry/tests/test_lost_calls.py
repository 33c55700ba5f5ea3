import pytest

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_ENDED, CALL_STATE_INVITED, END_CAUSE_LOST, CallSession
from sipgw.calls import CallStore, CallStream, Created, EdgeLeases, EndedOutbox, random_call_id, to_record
from sipgw.registry.call_registry import CallRegistry
from sipgw.registry.lost_calls import LOST_AFTER_S, LostCalls
from sipgw.runtime.settings import Identity
from sipgw.store import PARTITIONS, Store

EDGE = Identity("edge-0", "aaaa")
OTHER = Identity("edge-1", "bbbb")


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """One call of EDGE, and a registry that looks each second of a virtual clock."""

    def __init__(self, store: Store) -> None:
        self.clock = Hands()
        self.calls = CallStore(store)
        self.leases = EdgeLeases(store)
        self.registry = CallRegistry(self.clock)
        self.lost = LostCalls(
            self.calls, EdgeLeases(store, monotonic=self.clock), self.registry, monotonic=self.clock
        )
        self._stream = CallStream(store)

    async def begin(self) -> str:
        session = CallSession(call_id=random_call_id(), state=CALL_STATE_INVITED, owner=to_record(EDGE))
        assert isinstance(await self.calls.create(session), Created)
        self.registry.begin_epoch("e")
        for partition in range(PARTITIONS):
            self.registry.replace_partition(await self._stream.read_partition(partition))
        return session.call_id

    async def look_for(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            await self.lost.look()
            self.clock.now += 1.0
            self.registry.apply(await self._stream.follow(self.registry.positions(), block_ms=0))

    async def state(self, call_id: str) -> CallSession:
        session = await self.calls.load(call_id)
        assert session is not None
        return session


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


async def test_a_call_that_nobody_claims_for_a_minute_is_ended_as_lost(scene: Scene) -> None:
    call_id = await scene.begin()
    await scene.look_for(LOST_AFTER_S)
    assert (await scene.state(call_id)).state == CALL_STATE_INVITED
    await scene.look_for(5)
    session = await scene.state(call_id)
    assert (session.state, session.end_cause) == (CALL_STATE_ENDED, END_CAUSE_LOST)
    assert "edge-0" in session.end_reason
    assert scene.registry.count().live == 0


async def test_a_lost_call_waits_in_the_outbox_for_its_record(scene: Scene, store: Store) -> None:
    call_id = await scene.begin()
    await scene.look_for(LOST_AFTER_S + 5)
    (end,) = await EndedOutbox(store, "registry").take(range(PARTITIONS))
    assert (end.session.call_id, end.session.end_cause) == (call_id, END_CAUSE_LOST)


async def test_a_call_whose_owner_lives_is_left_alone(scene: Scene, store: Store) -> None:
    call_id = await scene.begin()
    await scene.leases.beat(EDGE, "h:1")
    await store.command("ZADD", "sipgw:{edges}:leases", store.now_ms() + 600_000, str(EDGE))
    await scene.look_for(LOST_AFTER_S + 10)
    assert (await scene.state(call_id)).state == CALL_STATE_INVITED


async def test_a_call_that_another_edge_claims_is_left_alone(scene: Scene, store: Store) -> None:
    call_id = await scene.begin()
    await scene.look_for(LOST_AFTER_S - 5)
    await scene.leases.beat(OTHER, "h:2")
    await store.command("ZADD", "sipgw:{edges}:leases", store.now_ms() + 600_000, str(OTHER))
    await scene.calls.claim(await scene.state(call_id), OTHER)
    await scene.look_for(LOST_AFTER_S + 10)
    assert (await scene.state(call_id)).owner.name == "edge-1"
    assert (await scene.state(call_id)).state == CALL_STATE_INVITED


async def test_who_may_not_judge_ends_nothing(scene: Scene) -> None:
    call_id = await scene.begin()
    for _ in range(40):  # a look each 5 s cannot rule out a fault of its own connection
        await scene.lost.look()
        scene.clock.now += 5.0
    assert (await scene.state(call_id)).state == CALL_STATE_INVITED
