"""The order "save the intent, act, save the result and the response, send": what Redis has when a command
arrives, and that nothing is sent during a save.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import pytest

from edge_kit.caller import HELD_SDP, Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry_api
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.calls import CallStore
from sipgw.sip import serialize
from sipgw.store import Store
from sipgw.store.testing import RedisServer


class Arrived(NamedTuple):
    """A command at the relay, and the record that Redis had at that moment."""

    kind: str
    state: int
    is_of_this_version: bool
    offer_pending: int


Holds = Callable[[calls.CallSession], bool]


class HeldSave:
    """A save for which `holds` is true: `reached` is set when the edge asks for it; it is done after `go`."""

    def __init__(self, edge: TestEdge, holds: Holds, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self._holds = holds
        self._save = edge.app.records._store.save
        monkeypatch.setattr(edge.app.records._store, "save", self)

    async def __call__(self, record: calls.CallSession) -> calls.CallSession:
        if self._holds(record):
            self.reached.set()
            await self.go.wait()
        return await self._save(record)


Hold = Callable[[Holds], HeldSave]


@pytest.fixture
def hold(edge: TestEdge, monkeypatch: pytest.MonkeyPatch) -> Hold:
    return lambda holds: HeldSave(edge, holds, monkeypatch)


@pytest.fixture
async def records(redis: RedisServer) -> AsyncIterator[CallStore]:
    store = await Store.connect(redis.url)
    yield CallStore(store)
    await store.aclose()


@pytest.fixture
def arrived(relay: FakeRelay, records: CallStore) -> list[Arrived]:
    found: list[Arrived] = []

    async def note(command: relay_api.Command) -> None:
        held = await records.load(command.call_id)
        assert held is not None
        kind, leg = command.WhichOneof("command") or "", held.legs[0]
        found.append(Arrived(kind, held.state, held.version == command.generation, leg.offer_pending))

    relay.on_command = note
    return found


async def all_sent_so_far(caller: Caller, edge: TestEdge) -> None:
    """Wait until all that the edge has sent is here; datagrams between two sockets do not overtake each
    other.
    """
    ping = caller.request("OPTIONS")
    caller.send(ping, edge.sip)
    await caller.response(ping)


def state_of(edge: TestEdge, call: CallerDialog) -> int | None:
    record = edge.app.records.copy_of(call.call_id)
    return record.state if record is not None else None


async def held_by_redis(records: CallStore, call_id: str) -> calls.CallSession:
    record = await records.load(call_id)
    assert record is not None
    return record


async def test_a_call_has_its_record_before_it_is_placed(
    edge: TestEdge, registry: FakeRegistry, records: CallStore, caller: Caller
) -> None:
    seen: list[tuple[int, int]] = []

    async def note(command: registry_api.PlacementCommand) -> None:
        held = await records.load(command.call_id)
        seen.append((command.action, held.state if held is not None else calls.CALL_STATE_UNSPECIFIED))

    registry.on_place = note
    await CallerDialog.established(caller, edge.sip)
    assert seen[0] == (registry_api.PLACEMENT_ACTION_RESERVE, calls.CALL_STATE_INVITED)


async def test_what_a_relay_is_told_to_do_is_saved_before(
    edge: TestEdge, arrived: list[Arrived], caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: len(arrived) == 3)
    assert (await call.ask("BYE", edge.sip)).status == 200
    await edge.until(lambda: not len(edge.app.live))
    none = calls.OFFER_PENDING_UNSPECIFIED
    assert arrived == [
        ("allocate", calls.CALL_STATE_PLACED, True, none),
        ("start", calls.CALL_STATE_RINGING, True, none),
        ("acknowledge", calls.CALL_STATE_ESTABLISHED, True, none),
        ("release", calls.CALL_STATE_ENDING, True, none),
    ]


async def test_an_end_of_ours_is_saved_before_the_relay_lets_go(
    edge: TestEdge, relay: FakeRelay, arrived: list[Arrived], caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup())
    await caller.peer_request("BYE")
    releases = [one for one in arrived if one.kind == "release"]
    assert releases == [("release", calls.CALL_STATE_ENDING, True, calls.OFFER_PENDING_UNSPECIFIED)]


async def test_an_offer_of_the_callers_is_saved_before_the_relay_obeys_it(
    edge: TestEdge, arrived: list[Arrived], caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: state_of(edge, call) == calls.CALL_STATE_ESTABLISHED)
    assert (await call.ask("INVITE", edge.sip, body=HELD_SDP)).status == 200
    modifies = [one for one in arrived if one.kind == "modify"]
    assert modifies == [("modify", calls.CALL_STATE_ESTABLISHED, True, calls.OFFER_PENDING_REMOTE)]


@pytest.mark.parametrize(
    ("state", "status"), [(calls.CALL_STATE_RINGING, 180), (calls.CALL_STATE_ANSWERED, 200)]
)
async def test_an_answer_is_in_redis_before_the_caller_has_it(
    edge: TestEdge, hold: Hold, records: CallStore, caller: Caller, state: int, status: int
) -> None:
    save = hold(lambda record: record.state == state)
    invite = caller.invite()
    caller.send(invite, edge.sip)
    await save.reached.wait()
    await all_sent_so_far(caller, edge)
    assert not caller.count(invite, status)
    save.go.set()
    answer = await caller.response(invite, status)
    of_invite = (await held_by_redis(records, (answer.to.tag or "")[:32])).legs[0].invite
    assert serialize(answer) in {of_invite.last_final, of_invite.last_provisional}


async def test_the_answer_to_an_offer_is_in_redis_before_the_caller_has_it(
    edge: TestEdge, hold: Hold, records: CallStore, caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    await edge.until(lambda: state_of(edge, call) == calls.CALL_STATE_ESTABLISHED)
    offer = call.next("INVITE", body=HELD_SDP)

    def answers_it(record: calls.CallSession) -> bool:
        invite = record.legs[0].invite
        return invite.cseq == offer.cseq.number and bool(invite.last_final)

    save = hold(answers_it)
    caller.send(offer, edge.sip)
    await save.reached.wait()
    await all_sent_so_far(caller, edge)
    assert not caller.count(offer, 200)
    save.go.set()
    answer = await caller.response(offer, 200)
    held = await held_by_redis(records, call.call_id)
    assert held.legs[0].invite.last_final == serialize(answer)


async def test_a_refusal_is_in_redis_before_the_caller_has_it(
    edge: TestEdge, registry: FakeRegistry, hold: Hold, records: CallStore, caller: Caller
) -> None:
    registry.relays.clear()
    save = hold(lambda record: record.state == calls.CALL_STATE_ENDING)
    invite = caller.invite()
    caller.send(invite, edge.sip)
    await save.reached.wait()
    await all_sent_so_far(caller, edge)
    assert not caller.count(invite, 503)
    save.go.set()
    refusal = await caller.response(invite, 503)
    held = await held_by_redis(records, (refusal.to.tag or "")[:32])
    assert held.legs[0].invite.last_final == serialize(refusal)


async def test_an_end_is_in_redis_before_either_peer_hears_of_it(
    edge: TestEdge, relay: FakeRelay, hold: Hold, caller: Caller
) -> None:
    ours, theirs = [await CallerDialog.established(caller, edge.sip) for _ in range(2)]
    save = hold(lambda record: record.state == calls.CALL_STATE_ENDING)
    relay.emit(ours.call_id, bot_hangup=relay_api.BotHangup())
    await save.reached.wait()
    save.reached.clear()
    bye = theirs.next("BYE")
    caller.send(bye, edge.sip)
    await save.reached.wait()
    await all_sent_so_far(caller, edge)
    assert not caller.count(bye, 200)
    assert all(one.method != "BYE" for one in caller.requests)
    save.go.set()
    assert (await caller.response(bye)).status == 200
    await caller.peer_request("BYE")
