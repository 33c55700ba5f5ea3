"""The non-INVITE server transaction on a virtual clock (RFC 3261 §17.2.2)."""

import pytest

from sipgw.sip import Address, RequestReceived, TransactionTerminated, TransportFailed, make_response

TCP = Address("TCP", "192.0.2.1", 41000)


@pytest.fixture
def bye(sip_text) -> bytes:
    return sip_text("BYE sip:bot@example.com SIP/2.0", to="<sip:bot@example.com>;tag=t")


@pytest.fixture
def received(wire, bye) -> RequestReceived:
    (event,) = wire.receive(bye)
    assert isinstance(event, RequestReceived)
    return event


def respond(wire, event, status: int) -> bool:
    return wire.layer.respond(event.key, make_response(event.request, status, to_tag="t"), wire.now)


def test_nothing_is_sent_before_the_user_answers(wire, received, bye) -> None:
    assert wire.receive(bye) == []
    assert wire.run_until(100) == []
    assert wire.sent_lines() == []


def test_a_copy_gets_the_provisional_again(wire, received, bye) -> None:
    respond(wire, received, 100)
    wire.sent()
    assert wire.receive(bye) == []
    assert wire.sent_lines() == ["100"]


def test_a_copy_gets_the_final_again_until_timer_j(wire, received, bye) -> None:
    respond(wire, received, 200)
    assert wire.sent_lines() == ["200"]
    wire.run_until(31.999)
    assert wire.receive(bye) == []
    assert wire.sent_lines() == ["200"]
    wire.run_until(32)
    assert wire.events() == [TransactionTerminated(received.key)]
    (event,) = wire.receive(bye)
    assert isinstance(event, RequestReceived)


def test_the_final_is_not_repeated_by_the_layer_itself(wire, received) -> None:
    respond(wire, received, 481)
    wire.sent()
    assert wire.run_until(100) == []


def test_over_tcp_timer_j_is_zero(wire, bye) -> None:
    (event,) = wire.receive(bye, TCP)
    respond(wire, event, 200)
    wire.run_until(0)
    assert wire.events() == [TransactionTerminated(event.key)]


@pytest.mark.parametrize("status", [100, 200])
def test_a_transport_error_ends_it(status: int, wire, received) -> None:
    respond(wire, received, status)
    wire.layer.transport_failed(received.key, wire.now)
    assert wire.events() == [TransportFailed(received.key), TransactionTerminated(received.key)]


def test_a_second_final_is_not_sent(wire, received) -> None:
    assert respond(wire, received, 200)
    assert not respond(wire, received, 481)
    assert wire.sent_lines() == ["200"]
