import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sipgw.api.calls.v1 import session_pb2 as pb
from sipgw.calls import CallStore, Created, EndedCall, EndedOutbox, random_call_id, to_record
from sipgw.registry.call_record import Numbers, call_record, root_span
from sipgw.registry.outbox import Outbox
from sipgw.runtime.patience import patient
from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry import traces
from sipgw.store import PARTITIONS, Store
from sipgw.store.testing import RedisServer, redis_cluster

EDGE = Identity("edge-0", "aaaa")
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


async def ended(store: Store) -> str:
    session = pb.CallSession(
        call_id=random_call_id(), state=pb.CALL_STATE_INVITED, owner=to_record(EDGE), created_ms=1
    )
    session.trace.trace_id, session.trace.root_span_id, session.trace.sampled = "ab" * 16, "cd" * 8, True
    made = await CallStore(store).create(session)
    assert isinstance(made, Created)
    made.session.end_cause = pb.END_CAUSE_BOT_HANGUP
    return (await CallStore(store).end(made.session)).call_id


class Replica:
    """The outbox of one registry, and the calls that it exported."""

    def __init__(self, store: Store, name: str = "a", *, take_over_after_ms: int = 60_000) -> None:
        self.records: list[dict[str, object]] = []
        self.roots: list[traces.RootSpan] = []
        self.has_collector = True
        self.consumer = EndedOutbox(store, name)
        self.outbox = Outbox(
            self.consumer,
            take_over_after_ms=take_over_after_ms,
            sweep_period_s=0.05,
            emit=self.records.append,
            export_roots=self._export,
        )

    def _export(self, roots: object) -> bool:
        self.roots += roots  # type: ignore[operator]
        return self.has_collector

    @property
    def exported(self) -> Counter[object]:
        return Counter(record["call_id"] for record in self.records)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.outbox.run())
        try:
            yield
        finally:
            await self.outbox.finish(5)
            await asyncio.wait_for(task, patient(5))

    async def nothing_waits(self) -> bool:
        return await self.consumer.take_over(600_000) == ([], 0)


@pytest.fixture(autouse=True)
def tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipgw.registry.outbox.is_tracing", lambda: True)


async def test_two_replicas_write_one_record_and_one_root_span_for_each_call(
    store: Store, eventually: Eventually
) -> None:
    a, b = Replica(store, "a"), Replica(store, "b")
    async with a.running(), b.running():
        call_ids: list[str] = []
        for _ in range(200):
            call_ids.append(await ended(store))
            a.outbox.wake(range(PARTITIONS))
            b.outbox.wake(range(PARTITIONS))
        await eventually(a.nothing_waits)
    assert a.exported + b.exported == Counter(call_ids)
    assert len(a.roots + b.roots) == 200
    assert {root.ids.span_id for root in a.roots + b.roots} == {"cd" * 8}


async def test_what_a_replica_left_when_it_died_another_exports_with_the_same_ids(
    store: Store, eventually: Eventually
) -> None:
    call_id = await ended(store)
    dead = Replica(store, "dead")
    (end,) = await dead.consumer.take(range(PARTITIONS))  # it dies before its acknowledgement
    heir = Replica(store, "heir", take_over_after_ms=0)
    async with heir.running():
        await eventually(heir.nothing_waits)
    assert heir.exported == Counter([call_id])
    assert heir.roots == [root_span(end)]


async def test_ends_saved_while_no_replica_ran_are_exported_when_one_comes(
    store: Store, eventually: Eventually
) -> None:
    call_ids = [await ended(store) for _ in range(120)]
    late = Replica(store)
    async with late.running():
        await eventually(late.nothing_waits)
    assert late.exported == Counter(call_ids)


async def test_after_flushall_it_goes_on_with_a_new_group(store: Store, eventually: Eventually) -> None:
    replica = Replica(store)
    async with replica.running():
        before = await ended(store)
        await eventually(replica.nothing_waits)
        await store.command("FLUSHALL")
        after = await ended(store)
        replica.outbox.wake(range(PARTITIONS))
        await eventually(replica.nothing_waits)
    assert replica.exported == Counter([before, after])


async def test_while_redis_is_away_it_waits_and_writes_no_record_twice(
    store: Store, redis_server: RedisServer, eventually: Eventually
) -> None:
    replica = Replica(store)
    frozen = asyncio.Event()

    def freeze_then_take(roots: object) -> bool:
        redis_server.freeze()  # between the record and its acknowledgement
        frozen.set()
        return True

    replica.outbox._export_roots = freeze_then_take

    async def unreachable() -> bool:
        return not store.is_reachable

    async with replica.running():
        await ended(store)
        replica.outbox.wake(range(PARTITIONS))
        await asyncio.wait_for(frozen.wait(), patient(10))
        await eventually(unreachable)  # longer than a command's bound
        redis_server.thaw()
        replica.outbox._export_roots = lambda _: True

        async def acknowledged() -> bool:
            with contextlib.suppress(Exception):
                return await replica.nothing_waits()
            return False

        await eventually(acknowledged)
    assert list(replica.exported.values()) == [1]


async def test_a_collector_that_is_away_costs_no_record(store: Store, eventually: Eventually) -> None:
    replica = Replica(store)
    replica.has_collector = False
    async with replica.running():
        call_id = await ended(store)
        replica.outbox.wake(range(PARTITIONS))
        await eventually(replica.nothing_waits)
    assert replica.exported == Counter([call_id])


async def test_it_works_on_a_cluster(tmp_path: Path, eventually: Eventually) -> None:
    with redis_cluster(tmp_path) as url:
        store = await Store.connect(url)
        call_ids = [await ended(store) for _ in range(30)]
        a, b = Replica(store, "a"), Replica(store, "b")
        async with a.running(), b.running():
            await eventually(a.nothing_waits)
        assert a.exported + b.exported == Counter(call_ids)
        await store.aclose()


def an_end() -> EndedCall:
    session = pb.CallSession(
        call_id="07" * 16,
        state=pb.CALL_STATE_ENDED,
        trunk="carrier",
        route="sales",
        from_display="+493012345678",
        to_display="+49800123",
        created_ms=1_700_000_000_000,
        answered_ms=1_700_000_001_000,
        ended_ms=1_700_000_061_500,
        end_cause=pb.END_CAUSE_BOT_HANGUP,
        end_reason="said by the bot: Mrs Smith is rude",
        sip_status=200,
        owner=to_record(EDGE),
    )
    session.bot.endpoint, session.bot.address = "bots:50051", "10.0.0.7:50051"
    session.bot.resume_token = "secret"
    session.media.relay.name, session.media.media_address = "relay-0", "192.0.2.10"
    leg = session.legs.add(leg_id="a")
    leg.invite.source.address = "203.0.113.9"
    session.trace.trace_id, session.trace.root_span_id, session.trace.sampled = "ab" * 16, "cd" * 8, True
    return EndedCall(7, "1700000061600-0", session)


def test_a_record_says_who_where_when_how_long_and_why() -> None:
    assert call_record(an_end(), Numbers.FULL) == {
        "call_id": "07" * 16,
        "trace_id": "ab" * 16,
        "from": "+493012345678",
        "to": "+49800123",
        "trunk": "carrier",
        "route": "sales",
        "bot": "bots:50051",
        "bot_address": "10.0.0.7:50051",
        "relay": "relay-0",
        "edge": "edge-0",
        "created": "2023-11-14T22:13:20.000+00:00",
        "answered": "2023-11-14T22:13:21.000+00:00",
        "ended": "2023-11-14T22:14:21.500+00:00",
        "duration_ms": 60_500,
        "cause": "bot_hangup",
        "reason": None,
        "status": 200,
    }


def test_a_record_of_a_refused_call_says_why() -> None:
    end = an_end()
    end.session.end_cause, end.session.sip_status = pb.END_CAUSE_REJECTED, 488
    end.session.end_reason = "it offers G729 (supported: PCMU PCMA)"
    assert call_record(end, Numbers.FULL)["reason"] == end.session.end_reason


def test_a_record_has_no_address_of_the_caller_no_token_and_no_word_of_the_bot() -> None:
    text = str(call_record(an_end(), Numbers.FULL))
    assert not any(word in text for word in ("203.0.113.9", "secret", "Smith"))


@pytest.mark.parametrize(
    ("number", "shown"),
    [("+493012345678", "**********678"), ("12345", "***45"), ("123", "***"), ("", None)],
)
def test_masked_numbers_show_three_digits_and_never_all(number: str, shown: str | None) -> None:
    end = an_end()
    end.session.from_display = number
    assert call_record(end, Numbers.MASKED)["from"] == shown
    assert call_record(end, Numbers.NONE)["from"] is None


def test_a_call_that_was_never_answered_has_no_duration() -> None:
    end = an_end()
    end.session.answered_ms, end.session.sip_status = 0, 486
    record = call_record(end, Numbers.FULL)
    assert (record["answered"], record["duration_ms"], record["status"]) == (None, 0, 486)


def test_an_end_without_a_time_ended_when_redis_heard_of_it() -> None:
    end = an_end()
    end.session.ended_ms = 0
    assert call_record(end, Numbers.FULL)["ended"] == "2023-11-14T22:14:21.600+00:00"


@pytest.mark.parametrize(
    ("cause", "status", "error"),
    [
        (pb.END_CAUSE_CALLER_HANGUP, 200, None),
        (pb.END_CAUSE_REJECTED, 404, None),
        (pb.END_CAUSE_REJECTED, 503, "no relay"),
        (pb.END_CAUSE_LOST, 200, "no relay"),
    ],
)
def test_the_root_span_has_failed_when_the_gateway_has(
    cause: pb.EndCause.ValueType, status: int, error: str | None
) -> None:
    end = an_end()
    end.session.end_cause, end.session.sip_status, end.session.end_reason = cause, status, "no relay"
    root = root_span(end)
    assert (root.ids, root.error) == (traces.TraceIds("ab" * 16, "cd" * 8, sampled=True), error)
    assert (root.start_ns, root.end_ns) == (1_700_000_000_000_000_000, 1_700_000_061_500_000_000)
