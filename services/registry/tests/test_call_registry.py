import random
import threading
from collections import Counter

import pytest

from sipgw.api.calls.v1.session_pb2 import (
    CALL_STATE_ENDED,
    CALL_STATE_ESTABLISHED,
    CALL_STATE_INVITED,
    END_CAUSE_LOST,
    BotBinding,
    CallSession,
    ProcessIdentity,
)
from sipgw.calls import TOMBSTONE_MS, PartitionRecords, Transition
from sipgw.registry.call_registry import DATA_LOSS_GRACE_S, CallRegistry
from sipgw.registry.call_watch import CallWatch
from sipgw.registry.errors import NotMaterialised, WatchExpired
from sipgw.store import PARTITIONS, partition_of

EPOCH = "epoch-1"
CALL = "07" + "0" * 30


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def call(
    call_id: str = CALL, version: int = 1, state: int = CALL_STATE_INVITED, **fields: object
) -> CallSession:
    session = CallSession(call_id=call_id, version=version, state=state, **fields)  # type: ignore[arg-type]
    session.media.relay.name = "relay-0"
    return session


def saved(session: CallSession, position: str = "1-0") -> Transition:
    return Transition(partition_of(session.call_id), position, session)


def materialised(registry: CallRegistry, *sessions: CallSession, epoch: str = EPOCH) -> CallRegistry:
    registry.begin_epoch(epoch)
    read(registry, *sessions)
    return registry


def read(registry: CallRegistry, *sessions: CallSession) -> None:
    for partition in range(PARTITIONS):
        mine = [session for session in sessions if partition_of(session.call_id) == partition]
        registry.replace_partition(PartitionRecords(partition, "0-0", mine))


def states(registry: CallRegistry) -> dict[str, int]:
    return {summary.call_id: summary.version for summary in registry.list()[0]}


def test_before_the_first_reading_there_is_nothing_to_list() -> None:
    registry = CallRegistry()
    with pytest.raises(NotMaterialised):
        registry.list()
    registry.begin_epoch(EPOCH)
    registry.replace_partition(PartitionRecords(0, "0-0", []))
    assert not registry.is_materialised
    with pytest.raises(NotMaterialised):
        registry.watch(lambda: None)


def test_only_higher_versions_are_applied() -> None:
    registry = materialised(CallRegistry(), call(version=5))
    assert registry.apply([saved(call(version=4)), saved(call(version=5))]) == 0
    assert registry.apply([saved(call(version=6))]) == 1
    assert states(registry) == {CALL: 6}


def test_a_reading_that_is_older_than_the_stream_changes_nothing() -> None:
    registry = materialised(CallRegistry())
    registry.apply([saved(call(version=3))])
    read(registry, call(version=2))
    assert states(registry) == {CALL: 3}


def test_an_ended_call_leaves_the_list_and_stays_as_a_tombstone_for_a_while() -> None:
    clock = Hands()
    registry = materialised(CallRegistry(clock), call())
    registry.apply([saved(call(version=2, state=CALL_STATE_ENDED))])
    assert registry.list()[0] == []
    assert [summary.version for summary in registry.list(include_ended=True)[0]] == [2]
    assert registry.get(CALL) is not None
    clock.now += TOMBSTONE_MS / 1000
    registry.forget_tombstones()
    assert registry.get(CALL) is None


def test_a_live_call_whose_record_is_gone_is_told_as_lost() -> None:
    registry = materialised(CallRegistry(), call())
    watch, _ = registry.watch(lambda: None)
    read(registry)
    lost = registry.get(CALL)
    assert lost is not None
    assert (lost.state, lost.end_cause) == (CALL_STATE_ENDED, END_CAUSE_LOST)
    assert [change.summary for change in watch.take()] == [lost]
    assert registry.count().live == 0


def test_setups_are_counted_over_the_last_seconds_and_calls_read_at_the_start_are_none() -> None:
    hands = Hands()
    registry = materialised(CallRegistry(hands), call(trunk="carrier"))
    assert registry.count().by_trunk == {"carrier": 1}
    for number in range(20):
        registry.apply([saved(call(f"08{number:030x}"))])
    registry.apply([saved(call(f"08{0:030x}", version=2))])
    assert registry.count().setups_per_s == 0  # the second in which they count is not over
    hands.now += 1
    assert registry.count().setups_per_s == 2
    hands.now += 10
    assert registry.count().setups_per_s == 0


def test_counts_follow_route_and_relay() -> None:
    other = "08" + "0" * 30
    registry = materialised(CallRegistry(), call(route="sales"), call(other, route="help"))
    assert registry.count().by_route == {"sales": 1, "help": 1}
    assert registry.count().by_relay == {"relay-0": 2}
    registry.apply(
        [saved(call(version=2, route="help")), saved(call(other, 2, CALL_STATE_ENDED, route="help"))]
    )
    counts = registry.count()
    assert (counts.live, counts.by_route, counts.by_relay) == (1, {"help": 1}, {"relay-0": 1})


def test_an_edge_learns_how_many_calls_the_others_have_with_each_bot_of_a_route() -> None:
    mine = ProcessIdentity(name="edge-0", incarnation="me")
    ids = [f"08{number:030x}" for number in range(4)]
    registry = materialised(
        CallRegistry(),
        call(ids[0], route="sales", owner=mine, bot=BotBinding(endpoint="a:1")),
        call(ids[1], route="sales", bot=BotBinding(endpoint="a:1")),
        call(ids[2], route="sales", bot=BotBinding(endpoint="b:1")),
        call(ids[3], route="help", bot=BotBinding(endpoint="a:1")),
    )
    counts = registry.count(except_owner="me")
    assert (counts.live, counts.live_elsewhere) == (4, 3)
    assert counts.by_bot_elsewhere == {"sales/a:1": 1, "sales/b:1": 1, "help/a:1": 1}
    assert registry.count().live_elsewhere == 4
    registry.apply([saved(call(ids[1], 2, route="sales", bot=BotBinding(endpoint="b:1")))])
    registry.apply([saved(call(ids[2], 2, CALL_STATE_ENDED, route="sales"))])
    assert registry.count(except_owner="me").by_bot_elsewhere == {"sales/b:1": 1, "help/a:1": 1}


def test_a_watch_tells_each_change_once_and_in_order() -> None:
    registry = materialised(CallRegistry())
    told: list[int] = []
    watch, _ = registry.watch(lambda: told.append(1))
    registry.apply([saved(call(), "5-0"), saved(call(version=2), "6-0")])
    changes = watch.take()
    assert [(change.position, change.summary.version) for change in changes] == [("5-0", 1), ("6-0", 2)]
    assert watch.take() == []
    assert told == [1]
    registry.unwatch(watch)
    registry.apply([saved(call(version=3))])
    assert watch.take() == []


def test_a_watcher_that_lags_too_far_has_expired() -> None:
    registry = materialised(CallRegistry())
    watch = CallWatch(lambda: None, max_untaken=2)
    registry._watches.append(watch)
    for version in range(1, 4):
        registry.apply([saved(call(version=version))])
    with pytest.raises(WatchExpired):
        watch.take()


def test_data_loss_expires_watches_and_keeps_calls_until_the_grace_ends() -> None:
    clock = Hands()
    again = "08" + "0" * 30
    registry = materialised(CallRegistry(clock), call(version=4), call(again, 4))
    watch, _ = registry.watch(lambda: None)
    materialised(registry, epoch="epoch-2")
    with pytest.raises(WatchExpired):
        watch.take()
    assert set(states(registry)) == {CALL, again}
    registry.apply([saved(call(again, 4))])  # its owner published it again
    clock.now += DATA_LOSS_GRACE_S
    read(registry, call(again, 4))
    assert states(registry) == {again: 4}
    assert registry.count().live == 1


def test_after_data_loss_what_redis_holds_is_true_even_with_a_lower_version() -> None:
    registry = materialised(CallRegistry(), call(version=9))
    materialised(registry, call(version=7), epoch="epoch-2")
    assert states(registry) == {CALL: 7}


def test_a_call_published_after_the_grace_is_back() -> None:
    clock = Hands()
    registry = materialised(CallRegistry(clock), call(version=4))
    materialised(registry, epoch="epoch-2")
    clock.now += DATA_LOSS_GRACE_S
    read(registry)
    assert states(registry) == {}
    registry.apply([saved(call(version=4))])
    assert states(registry) == {CALL: 4}
    assert registry.count().live == 1


def test_threads_that_hammer_it_leave_it_whole() -> None:
    """Writers with every call's versions in random order, readings, readers and watchers, all at once."""
    call_ids = [f"{n:02x}" + f"{n:030x}" for n in range(60)]
    versions = 30
    registry = materialised(CallRegistry())
    failures: list[BaseException] = []
    done = threading.Event()
    heard: Counter[str] = Counter()
    watch, _ = registry.watch(lambda: None)

    def state_of(version: int) -> int:
        return CALL_STATE_ENDED if version == versions else CALL_STATE_ESTABLISHED

    def guarded(work: object) -> threading.Thread:
        def run() -> None:
            try:
                work()  # type: ignore[operator]
            except BaseException as error:
                failures.append(error)

        return threading.Thread(target=run)

    def write(seed: int) -> None:
        order = [(call_id, version) for call_id in call_ids for version in range(1, versions + 1)]
        random.Random(seed).shuffle(order)
        for call_id, version in order:
            registry.apply([saved(call(call_id, version, state_of(version), route="r"), f"{version}-0")])

    def read_partitions() -> None:
        while not done.is_set():
            for call_id in call_ids:
                partition = partition_of(call_id)
                known = [c for c in call_ids if partition_of(c) == partition]
                registry.replace_partition(
                    PartitionRecords(
                        partition, "1-0", [call(c, 1, CALL_STATE_ESTABLISHED, route="r") for c in known]
                    )
                )

    def look() -> None:
        while not done.is_set():
            listed, _ = registry.list(include_ended=True)
            assert len({summary.call_id for summary in listed}) == len(listed)
            counts = registry.count()
            assert 0 <= counts.live <= len(call_ids)
            assert counts.live == counts.by_route.get("r", 0) == counts.by_relay.get("relay-0", 0)

    def follow() -> None:
        last: dict[str, int] = {}
        is_last_round = False
        while not is_last_round:
            is_last_round = done.is_set()
            for change in watch.take():
                summary = change.summary
                assert summary.version > last.get(summary.call_id, 0)
                last[summary.call_id] = summary.version
                heard[summary.call_id] = summary.version

    writers = [guarded(lambda seed=seed: write(seed)) for seed in range(4)]
    others = [guarded(read_partitions), guarded(look), guarded(look), guarded(follow)]
    for thread in (*others, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    assert not failures
    assert registry.list()[0] == []
    assert registry.count().live == 0
    assert {summary.version for summary in registry.list(include_ended=True)[0]} == {versions}
    assert set(heard.values()) == {versions}
