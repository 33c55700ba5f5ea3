"""The INVITE server transaction on a virtual clock (RFC 3261 §17.2.1, RFC 6026)."""

import pytest

from sipgw.sip import (
    AckOfFailure,
    AckReceived,
    Address,
    RequestReceived,
    TransactionTerminated,
    TransactionTimedOut,
    TransportFailed,
    make_response,
)

TCP = Address("TCP", "192.0.2.1", 41000)


@pytest.fixture
def invite(sip_text) -> bytes:
    return sip_text("INVITE sip:bot@example.com SIP/2.0")


@pytest.fixture
def ack(sip_text) -> bytes:
    return sip_text("ACK sip:bot@example.com SIP/2.0", to="<sip:bot@example.com>;tag=t")


@pytest.fixture
def received(wire, invite) -> RequestReceived:
    (event,) = wire.receive(invite)
    assert isinstance(event, RequestReceived)
    return event


def respond(wire, event, status: int) -> bool:
    return wire.layer.respond(event.key, make_response(event.request, status, to_tag="t"), wire.now)


def test_a_trying_goes_out_after_200_ms_of_silence(wire, received) -> None:
    assert wire.run_until(10) == [(0.2, "100")]


def test_no_trying_of_the_layer_when_the_user_was_quicker(wire, received) -> None:
    respond(wire, received, 180)
    assert wire.sent_lines() == ["180"]
    assert wire.run_until(10) == []


def test_a_retransmission_before_any_response_is_absorbed(wire, received, invite) -> None:
    assert wire.receive(invite) == []
    assert wire.sent_lines() == []


def test_a_retransmission_gets_the_last_provisional(wire, received, invite) -> None:
    respond(wire, received, 100)
    respond(wire, received, 183)
    wire.sent()
    assert wire.receive(invite) == []
    assert wire.sent_lines() == ["183"]


def test_timer_g_doubles_up_to_t2_and_timer_h_ends_it(wire, received) -> None:
    respond(wire, received, 486)
    assert wire.sent_lines() == ["486"]
    expected = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert wire.run_until(100) == [(at, "486") for at in expected]
    assert wire.events() == [TransactionTimedOut(received.key), TransactionTerminated(received.key)]
    assert wire.layer.live_transactions == 0


def test_timer_h_fires_at_64_t1(wire, received) -> None:
    respond(wire, received, 486)
    wire.run_until(31.999)
    assert wire.events() == []
    wire.run_until(32)
    assert wire.events() == [TransactionTimedOut(received.key), TransactionTerminated(received.key)]


def test_the_ack_stops_the_copies_and_timer_i_absorbs_more_of_it(wire, received, ack) -> None:
    respond(wire, received, 486)
    wire.sent()
    wire.now = 1.0
    assert wire.receive(ack) == [AckOfFailure(received.key)]
    assert wire.receive(ack) == []
    assert wire.run_until(5.999) == []
    assert wire.layer.live_transactions == 1
    wire.run_until(6)
    assert wire.events() == [TransactionTerminated(received.key)]


def test_in_completed_a_retransmission_gets_the_failure_again(wire, received, invite) -> None:
    respond(wire, received, 603)
    wire.sent()
    assert wire.receive(invite) == []
    assert wire.sent_lines() == ["603"]


def test_over_tcp_there_are_no_copies_and_timer_i_is_zero(wire, invite, ack) -> None:
    (event,) = wire.receive(invite, TCP)
    respond(wire, event, 486)
    wire.sent()
    assert wire.run_until(31) == []
    assert wire.receive(ack, TCP) == [AckOfFailure(event.key)]
    wire.run_until(31)
    assert wire.events() == [TransactionTerminated(event.key)]


def test_over_tcp_timer_h_still_waits_for_the_ack(wire, invite) -> None:
    (event,) = wire.receive(invite, TCP)
    respond(wire, event, 486)
    wire.run_until(32)
    assert TransactionTimedOut(event.key) in wire.events()


def test_a_2xx_is_sent_once_and_its_transaction_absorbs_invites(wire, received, invite) -> None:
    respond(wire, received, 200)
    assert wire.sent_lines() == ["200"]
    assert wire.receive(invite) == []
    assert wire.run_until(31.999) == []
    assert wire.layer.live_transactions == 1


def test_timer_l_ends_accepted_after_64_t1(wire, received) -> None:
    respond(wire, received, 200)
    wire.run_until(31.999)
    assert wire.events() == []
    wire.run_until(32)
    assert wire.events() == [TransactionTerminated(received.key)]


def test_in_accepted_the_user_may_send_the_2xx_again(wire, received) -> None:
    assert respond(wire, received, 200)
    assert respond(wire, received, 200)
    assert wire.sent_lines() == ["200", "200"]
    assert not respond(wire, received, 486)


def test_an_ack_with_the_branch_of_an_accepted_invite_reaches_the_user(wire, received, ack) -> None:
    respond(wire, received, 200)
    (event,) = wire.receive(ack)
    assert isinstance(event, AckReceived)


def test_an_ack_before_any_final_answer_is_ignored(wire, received, ack) -> None:
    assert wire.receive(ack) == []


def test_a_second_final_answer_is_not_sent(wire, received) -> None:
    assert respond(wire, received, 486)
    assert not respond(wire, received, 200)
    assert not respond(wire, received, 180)
    assert wire.sent_lines() == ["486"]


def test_a_response_to_a_transaction_that_is_gone_is_refused(wire, received) -> None:
    respond(wire, received, 200)
    wire.run_until(33)
    assert not respond(wire, received, 200)


def test_a_transport_error_ends_proceeding_and_is_reported(wire, received) -> None:
    respond(wire, received, 180)
    wire.layer.transport_failed(received.key, wire.now)
    assert wire.events() == [TransportFailed(received.key), TransactionTerminated(received.key)]


def test_a_transport_error_leaves_accepted_alive(wire, received) -> None:
    respond(wire, received, 200)
    wire.layer.transport_failed(received.key, wire.now)
    assert wire.events() == [TransportFailed(received.key)]
    assert wire.layer.live_transactions == 1
    wire.layer.transport_failed(received.key._replace(branch="unknown"), wire.now)
    assert wire.events() == []


def test_timer_values_scale_with_t1(new_wire, invite) -> None:
    from sipgw.sip import TimerValues

    wire = new_wire(timers=TimerValues(t1_s=0.1, t2_s=0.4))
    (event,) = wire.receive(invite)
    respond(wire, event, 486)
    wire.sent()
    assert [at for at, _ in wire.run_until(2)] == [0.1, 0.3, 0.7, 1.1, 1.5, 1.9]
    wire.run_until(6.4)
    assert TransactionTimedOut(event.key) in wire.events()
