"""Our requests within calls reach callers whose Contact is an address that we cannot reach."""

from collections.abc import AsyncIterator

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import FAST, TestEdge
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from edge_kit.standing_calls import copy_of, relay_of
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.sip import Address, SipRequest

LATE_S = 8 * FAST.sip.t1_s


@pytest.fixture
async def silent() -> AsyncIterator[Caller]:
    """The host in the caller's Contact: it receives, and responds to nothing."""
    one = await Caller.open()
    one.answer_requests = False
    yield one
    one.close()


async def established(
    edge: TestEdge, relay: FakeRelay, caller: Caller, target: str, **fields: object
) -> CallerDialog:
    call = await CallerDialog.established(caller, edge.sip, contact=f"<sip:alice@{target}>", **fields)
    await edge.until(lambda: "acknowledge" in relay.commands(call.call_id))
    return call


def hang_up(relay: FakeRelay, call: CallerDialog) -> None:
    relay.emit(call.call_id, bot_hangup=relay_api.BotHangup(reason="done"))


def is_over(edge: TestEdge, call: CallerDialog) -> bool:
    return edge.app.records.copy_of(call.call_id) is None


async def test_a_request_without_response_is_sent_to_the_source_of_the_invite(
    edge: TestEdge, relay: FakeRelay, caller: Caller, silent: Caller
) -> None:
    call = await established(edge, relay, caller, f"127.0.0.1:{silent.port}")
    hang_up(relay, call)
    first = await silent.peer_request("BYE")
    assert not caller.requests
    second = await caller.peer_request("BYE")
    assert second.cseq == first.cseq
    assert second.uri == first.uri
    assert second.via.branch != first.via.branch
    assert call.dialog.matches(second)
    await edge.until(lambda: is_over(edge, call))


async def test_a_closed_port_is_left_at_once(
    edge: TestEdge, relay: FakeRelay, caller: Caller, silent: Caller
) -> None:
    silent.close()
    call = await established(edge, relay, caller, f"127.0.0.1:{silent.port}")
    loop_time = edge.app.sip._loop.time
    hang_up(relay, call)
    began = loop_time()
    await caller.peer_request("BYE")
    assert loop_time() - began < LATE_S, "an ICMP error came before the second way was due"
    await edge.until(lambda: is_over(edge, call))


async def test_a_late_response_of_the_first_way_counts(
    edge: TestEdge, relay: FakeRelay, caller: Caller, silent: Caller
) -> None:
    caller.answer_requests = False
    call = await established(edge, relay, caller, f"127.0.0.1:{silent.port}")
    hang_up(relay, call)
    first = await silent.peer_request("BYE")
    await caller.peer_request("BYE")
    assert not is_over(edge, call)
    silent._answer(first, edge.sip)
    await edge.until(lambda: is_over(edge, call))


async def test_a_provisional_response_is_waited_for(
    edge: TestEdge, relay: FakeRelay, caller: Caller, silent: Caller
) -> None:
    silent.answer_requests = True
    silent.statuses["BYE"] = 100
    call = await established(edge, relay, caller, f"127.0.0.1:{silent.port}")
    hang_up(relay, call)
    first = await silent.peer_request("BYE")
    await edge.until(lambda: sum(one.method == "BYE" for one in silent.requests) > 3)
    assert not caller.requests
    silent.statuses.clear()
    silent._answer(first, edge.sip)
    await edge.until(lambda: is_over(edge, call))


async def test_the_timer_of_the_first_transaction_ends_both(
    edge: TestEdge, relay: FakeRelay, caller: Caller, silent: Caller
) -> None:
    caller.answer_requests = False
    call = await established(edge, relay, caller, f"127.0.0.1:{silent.port}")
    loop_time = edge.app.sip._loop.time
    began = loop_time()
    hang_up(relay, call)
    await caller.peer_request("BYE")
    await edge.until(lambda: is_over(edge, call), within_s=20)
    assert loop_time() - began < 64 * FAST.sip.t1_s + LATE_S


async def test_a_proxy_in_the_route_set_is_not_gone_around(
    edge: TestEdge, relay: FakeRelay, caller: Caller, silent: Caller
) -> None:
    proxy = ("Record-Route", f"<sip:127.0.0.1:{silent.port};lr>")
    call = await established(edge, relay, caller, f"127.0.0.1:{caller.port}", headers=[proxy])
    hang_up(relay, call)
    await silent.peer_request("BYE")
    await edge.until(lambda: is_over(edge, call), within_s=20)
    assert not caller.requests


async def refer_status(edge: TestEdge, relay: FakeRelay, call: CallerDialog) -> SipRequest:
    relay.emit(call.call_id, transfer_requested=relay_api.TransferRequested(target="sip:200@h"))
    return await call.caller.peer_request("REFER")


async def test_the_record_learns_the_way_from_a_response_only(
    edge: TestEdge, relay: FakeRelay, caller: Caller, silent: Caller
) -> None:
    caller.statuses["REFER"] = None
    target = f"sip:alice@127.0.0.1:{silent.port}"
    call = await established(edge, relay, caller, f"127.0.0.1:{silent.port}")
    refer = await refer_status(edge, relay, call)
    assert copy_of(edge, call).legs[0].silent_target == ""
    caller.statuses["REFER"] = 603
    caller._answer(refer, edge.sip)
    await edge.until(lambda: copy_of(edge, call).legs[0].silent_target == target)
    silent.requests.clear()
    hang_up(relay, call)
    await caller.peer_request("BYE")
    await edge.until(lambda: is_over(edge, call))
    assert [one.method for one in silent.requests if one.method != "REFER"] == []


async def test_another_contact_is_tried_again(
    edge: TestEdge, relay: FakeRelay, caller: Caller, silent: Caller
) -> None:
    caller.statuses["REFER"] = 603
    call = await established(edge, relay, caller, f"127.0.0.1:{silent.port}")
    await refer_status(edge, relay, call)
    await edge.until(lambda: copy_of(edge, call).legs[0].silent_target != "")
    silent.answer_requests = True
    update = call.next("UPDATE")
    update.headers.set("Contact", f"<sip:bob@127.0.0.1:{silent.port}>")
    caller.send(update, edge.sip)
    assert (await caller.response(update)).status == 200
    hang_up(relay, call)
    await silent.peer_request("BYE")
    await edge.until(lambda: is_over(edge, call))


async def test_a_move_reaches_the_caller_by_the_second_way_and_acknowledges_there(
    edge: TestEdge,
    relay: FakeRelay,
    other_relay: FakeRelay,
    registry: FakeRegistry,
    caller: Caller,
    silent: Caller,
) -> None:
    call = await established(edge, relay, caller, f"127.0.0.1:{silent.port}")
    registry.relays.append(other_relay)
    caller.answer_requests = False
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
    first = await silent.peer_request("INVITE")
    second = await caller.peer_request("INVITE")
    assert (second.cseq, second.body) == (first.cseq, first.body)
    caller._answer(second, edge.sip)
    ack = await caller.peer_request("ACK")
    assert ack.cseq.number == second.cseq.number
    await edge.until(lambda: relay_of(edge, call) == "relay-1")
    silent._answer(first, Address("UDP", edge.sip.host, edge.sip.port))  # late: its 200 gets an ACK too
    await edge.until(lambda: sum(one.method == "ACK" for one in caller.requests) >= 2)
