"""The non-INVITE client transaction on a virtual clock (RFC 3261 §17.1.2), CANCEL included."""

import pytest

from sipgw.sip import (
    Address,
    SipRequest,
    SipUri,
    TransactionTerminated,
    TransactionTimedOut,
    TransportFailed,
    Via,
    make_cancel,
    make_response,
    new_request,
    serialize,
)

PEER = Address("UDP", "198.51.100.9", 5060)
TLS = Address("TLS", "198.51.100.9", 5061)


def request(method: str) -> SipRequest:
    return new_request(
        method,
        SipUri.parse("sip:alice@198.51.100.9"),
        from_="<sip:gw@example.com>;tag=g1",
        to="<sip:alice@198.51.100.9>;tag=p1",
        call_id="out-1",
        cseq=8,
        via=Via("UDP", "192.0.2.50", 5060),
    )


@pytest.fixture
def bye() -> SipRequest:
    return request("BYE")


@pytest.fixture
def key(wire, bye):
    key = wire.layer.send_request(bye, PEER, wire.now)
    assert wire.sent_lines() == ["BYE"]
    return key


def answer(wire, bye: SipRequest, status: int) -> list[object]:
    return wire.receive(serialize(make_response(bye, status)), PEER)


def test_timer_e_doubles_up_to_t2_until_timer_f(wire, key) -> None:
    expected = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert wire.run_until(31.999) == [(at, "BYE") for at in expected]
    wire.run_until(32)
    assert wire.events() == [TransactionTimedOut(key), TransactionTerminated(key)]


def test_after_a_provisional_timer_e_runs_at_t2(wire, key, bye) -> None:
    wire.run_until(0.6)
    (event,) = answer(wire, bye, 100)
    assert event.response.status == 100
    assert [at for at, _ in wire.run_until(20)] == [1.5, 5.5, 9.5, 13.5, 17.5]
    wire.run_until(32)
    assert wire.events() == [TransactionTimedOut(key), TransactionTerminated(key)]


def test_timer_k_absorbs_copies_of_the_final_for_t4(wire, key, bye) -> None:
    assert [event.response.status for event in answer(wire, bye, 200)] == [200]
    assert answer(wire, bye, 200) == []
    assert wire.run_until(4.999) == []
    assert wire.layer.live_transactions == 1
    wire.run_until(5)
    assert wire.events() == [TransactionTerminated(key)]


def test_over_tls_nothing_is_repeated_and_timer_k_is_zero(wire, bye) -> None:
    key = wire.layer.send_request(bye, TLS, 0)
    wire.sent()
    assert wire.run_until(10) == []
    answer(wire, bye, 481)
    wire.events()
    wire.run_until(10)
    assert wire.events() == [TransactionTerminated(key)]


def test_a_transport_error_ends_it(wire, key) -> None:
    wire.layer.transport_failed(key, 0)
    assert wire.events() == [TransportFailed(key), TransactionTerminated(key)]


def test_a_cancel_has_the_branch_of_its_invite_and_a_life_of_its_own(wire) -> None:
    invite = request("INVITE")
    invite_key = wire.layer.send_request(invite, PEER, 0)
    cancel = make_cancel(invite)
    cancel_key = wire.layer.send_request(cancel, PEER, 0)
    assert cancel_key.branch == invite_key.branch
    assert cancel_key != invite_key
    assert wire.sent_lines() == ["INVITE", "CANCEL"]
    (event,) = answer(wire, cancel, 200)
    assert (event.key, event.response.cseq.method) == (cancel_key, "CANCEL")
    (event, *_) = answer(wire, invite, 487)
    assert (event.key, event.response.status) == (invite_key, 487)
