"""The INVITE client transaction on a virtual clock (RFC 3261 §17.1.1, RFC 6026)."""

import pytest

from sipgw.sip import (
    Address,
    ResponseReceived,
    ResponseStray,
    SipRequest,
    SipUri,
    SipUsageError,
    TransactionTerminated,
    TransactionTimedOut,
    TransportFailed,
    Via,
    make_response,
    new_request,
    serialize,
)

PEER = Address("UDP", "198.51.100.9", 5060)
TCP = Address("TCP", "198.51.100.9", 5060)


def new_invite(method: str = "INVITE") -> SipRequest:
    return new_request(
        method,
        SipUri.parse("sip:alice@198.51.100.9"),
        from_="<sip:gw@example.com>;tag=g1",
        to="<sip:alice@198.51.100.9>",
        call_id="out-1",
        cseq=7,
        via=Via("UDP", "192.0.2.50", 5060),
        contact="<sip:gw@192.0.2.50>",
        routes=["<sip:proxy.example.com;lr>"],
    )


@pytest.fixture
def invite() -> SipRequest:
    return new_invite()


@pytest.fixture
def key(wire, invite):
    key = wire.layer.send_request(invite, PEER, wire.now)
    assert wire.sent_lines() == ["INVITE"]
    return key


def answer(wire, invite: SipRequest, status: int, to_tag: str = "p1") -> list[object]:
    return wire.receive(serialize(make_response(invite, status, to_tag=to_tag)), PEER)


def test_the_branch_comes_from_the_token(wire, invite) -> None:
    key = wire.layer.send_request(invite, PEER, 0)
    assert key.branch == "z9hG4bK-token1"
    ((request, destination),) = wire.sent()
    assert (request.via.branch, destination) == ("z9hG4bK-token1", PEER)


def test_timer_a_doubles_without_end_until_timer_b(wire, key) -> None:
    assert wire.run_until(31.999) == [(at, "INVITE") for at in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)]
    assert wire.events() == []
    wire.run_until(32)
    assert wire.events() == [TransactionTimedOut(key), TransactionTerminated(key)]


def test_a_provisional_stops_timers_a_and_b(wire, key, invite) -> None:
    (event,) = answer(wire, invite, 180)
    assert isinstance(event, ResponseReceived)
    assert (event.key, event.response.status) == (key, 180)
    assert wire.run_until(500) == []
    assert wire.layer.live_transactions == 1


def test_a_failure_is_acked_by_the_layer_and_each_copy_again(wire, key, invite) -> None:
    (event,) = answer(wire, invite, 486)
    assert event.response.status == 486
    ((ack, destination),) = wire.sent()
    assert (ack.method, ack.cseq.number, ack.to.tag, destination) == ("ACK", 7, "p1", PEER)
    assert ack.via.branch == invite.via.branch
    assert ack.uri == invite.uri
    assert ack.routes == invite.routes
    assert len(ack.vias) == 1
    assert answer(wire, invite, 486) == []
    assert wire.sent_lines() == ["ACK"]


def test_timer_d_absorbs_copies_for_32_s(wire, key, invite) -> None:
    answer(wire, invite, 486)
    wire.run_until(31.999)
    assert wire.events() == []
    wire.run_until(32)
    assert wire.events() == [TransactionTerminated(key)]


def test_a_2xx_is_not_acked_by_the_layer_and_each_copy_is_reported(wire, key, invite) -> None:
    assert [event.response.status for event in answer(wire, invite, 200)] == [200]
    assert [event.response.status for event in answer(wire, invite, 200)] == [200]
    assert [event.response.to.tag for event in answer(wire, invite, 200, to_tag="fork")] == ["fork"]
    assert wire.sent_lines() == []


def test_timer_m_ends_accepted_after_64_t1(wire, key, invite) -> None:
    answer(wire, invite, 200)
    wire.run_until(31.999)
    assert wire.events() == []
    wire.run_until(32)
    assert wire.events() == [TransactionTerminated(key)]
    (event,) = answer(wire, invite, 200)
    assert isinstance(event, ResponseStray)


def test_a_failure_after_the_2xx_is_ignored(wire, key, invite) -> None:
    answer(wire, invite, 200)
    assert answer(wire, invite, 486) == []
    assert answer(wire, invite, 180) == []
    assert wire.sent_lines() == []


def test_over_tcp_nothing_is_repeated_and_timer_d_is_zero(wire, invite) -> None:
    key = wire.layer.send_request(invite, TCP, 0)
    wire.sent()
    assert wire.run_until(31) == []
    answer(wire, invite, 404)
    wire.run_until(31)
    assert wire.events() == [TransactionTerminated(key)]


def test_over_tcp_timer_b_still_ends_the_wait(wire, invite) -> None:
    key = wire.layer.send_request(invite, TCP, 0)
    wire.run_until(32)
    assert wire.events() == [TransactionTimedOut(key), TransactionTerminated(key)]


def test_a_transport_error_ends_it(wire, key) -> None:
    wire.layer.transport_failed(key, 0)
    assert wire.events() == [TransportFailed(key), TransactionTerminated(key)]


def test_a_response_of_another_call_with_our_branch_is_a_stray(wire, key, invite) -> None:
    response = make_response(invite, 200, to_tag="x")
    response.headers.set("Call-ID", "another")
    (event,) = wire.receive(serialize(response), PEER)
    assert isinstance(event, ResponseStray)


def test_a_branch_is_not_used_twice(wire, key, invite) -> None:
    with pytest.raises(SipUsageError, match="twice"):
        wire.layer.send_request(invite, PEER, 0)


def test_an_ack_is_no_transaction(wire) -> None:
    with pytest.raises(SipUsageError, match="send_raw"):
        wire.layer.send_request(new_invite("ACK"), PEER, 0)
