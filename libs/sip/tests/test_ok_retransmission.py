"""The 2xx sent again until its ACK (RFC 3261 §13.3.1.4)."""

from sipgw.sip import Address, Headers, OkRetransmission, OkState, SipResponse, TimerValues, serialize

PEER = Address("TCP", "192.0.2.1", 5060)
OK = SipResponse(200, "OK", Headers([("Call-ID", "c")]))


def times_of_copies(ok: OkRetransmission) -> list[float]:
    times: list[float] = []
    while (due := ok.next_timer()) is not None:
        ok.handle_timer(due)
        for data, destination in ok.datagrams_to_send(due):
            assert (data, destination) == (serialize(OK), PEER)
            times.append(due)
    return times


def test_copies_double_up_to_t2_and_stop_at_64_t1() -> None:
    ok = OkRetransmission(OK, PEER, now=10.0)
    assert times_of_copies(ok) == [10.5, 11.5, 13.5, 17.5, 21.5, 25.5, 29.5, 33.5, 37.5, 41.5]
    assert ok.gave_up
    assert ok.state is OkState.GAVE_UP


def test_it_gives_up_at_64_t1() -> None:
    ok = OkRetransmission(OK, PEER, now=0.0)
    assert ok.handle_timer(31.999) is OkState.WAITING
    assert ok.handle_timer(32.0) is OkState.GAVE_UP
    assert ok.handle_timer(33.0) is OkState.GAVE_UP
    ok.acked()
    assert ok.gave_up


def test_the_ack_ends_it_and_drops_the_copy_at_hand() -> None:
    ok = OkRetransmission(serialize(OK), PEER, now=0.0)
    ok.handle_timer(0.5)
    ok.acked()
    assert ok.datagrams_to_send(0.5) == []
    assert ok.next_timer() is None
    assert ok.handle_timer(100) is OkState.ACKED
    assert not ok.gave_up


def test_a_timer_that_is_not_due_sends_nothing() -> None:
    ok = OkRetransmission(OK, PEER, 0.0, TimerValues(t1_s=1.0))
    ok.handle_timer(0.9)
    assert ok.datagrams_to_send(0.9) == []
    assert ok.next_timer() == 1.0
