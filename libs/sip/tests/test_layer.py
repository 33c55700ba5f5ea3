"""The transaction layer: matching, ACK, CANCEL, strays, malformed messages, bounds."""

from sipgw.sip import (
    AckOfFailure,
    AckReceived,
    Address,
    CancelReceived,
    MalformedReceived,
    RequestReceived,
    ResponseStray,
    Screening,
    make_response,
    new_request,
    parse_uri,
)

INVITE = "INVITE sip:bot@example.com SIP/2.0"
LISTENER = Address("UDP", "192.0.2.50", 5060)
NATTED = Address("UDP", "203.0.113.9", 31337)


def respond(wire, event, status: int) -> bool:
    return wire.layer.respond(event.key, make_response(event.request, status, to_tag="t"), wire.now)


def test_a_request_is_reported_with_where_it_came_from_and_to(wire, sip_text) -> None:
    wire.layer.receive_datagram(sip_text(INVITE), NATTED, 0, received_on=LISTENER)
    (event,) = wire.events()
    assert isinstance(event, RequestReceived)
    assert (event.source, event.received_on) == (NATTED, LISTENER)
    assert event.request.via.received == NATTED.host
    assert event.key.method == "INVITE"
    assert "z9hG4bK-1" in str(event.key)


def test_a_response_goes_to_the_source_port_when_rport_is_asked(wire, sip_text) -> None:
    (event,) = wire.receive(sip_text(INVITE, via="SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK-1"), NATTED)
    respond(wire, event, 200)
    ((response, destination),) = wire.sent()
    assert destination == NATTED
    assert (response.via.received, response.via.rport) == (NATTED.host, NATTED.port)


def test_what_makes_another_transaction(wire, sip_text) -> None:
    """Each request differs from the first in one part of the key; none is taken for a copy of the first."""
    assert len(wire.receive(sip_text(INVITE))) == 1
    others = [
        {"via": "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-2"},
        {"via": "SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bK-1"},
        {"call_id": "call-2"},
        {"cseq": "2 INVITE"},
    ]
    for change in others:
        assert len(wire.receive(sip_text(INVITE, **change))) == 1, change
    assert len(wire.receive(sip_text("OPTIONS sip:bot@example.com SIP/2.0"))) == 1
    assert wire.receive(sip_text(INVITE)) == []
    assert wire.layer.live_transactions == 6


def test_an_rfc_2543_client_is_matched_by_its_fields(wire, sip_text) -> None:
    old = {"via": "SIP/2.0/UDP 192.0.2.1"}
    (event,) = wire.receive(sip_text(INVITE, **old))
    assert wire.receive(sip_text(INVITE, **old)) == []
    respond(wire, event, 486)
    ack = sip_text("ACK sip:bot@example.com SIP/2.0", to="<sip:bot@example.com>;tag=t", **old)
    assert wire.receive(ack) == [AckOfFailure(event.key)]
    (another,) = wire.receive(sip_text(INVITE, from_="<sip:x@y>;tag=other", **old))
    assert isinstance(another, RequestReceived)


def test_the_ack_of_a_2xx_is_reported_each_time(wire, sip_text) -> None:
    (event,) = wire.receive(sip_text(INVITE))
    respond(wire, event, 200)
    ack = sip_text(
        "ACK sip:gw@192.0.2.50 SIP/2.0",
        via="SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-ack",
        to="<sip:bot@example.com>;tag=t",
    )
    for _ in range(2):
        (acked,) = wire.receive(ack)
        assert isinstance(acked, AckReceived)
        assert acked.request.to.tag == "t"


def test_an_ack_to_nothing_is_reported_and_never_answered(wire, sip_text) -> None:
    (event,) = wire.receive(sip_text("ACK sip:bot@example.com SIP/2.0"))
    assert isinstance(event, AckReceived)
    assert wire.run_until(100) == []
    assert wire.layer.live_transactions == 0


def test_a_cancel_names_the_invite_that_it_means(wire, sip_text) -> None:
    (invite,) = wire.receive(sip_text(INVITE))
    (cancel,) = wire.receive(sip_text("CANCEL sip:bot@example.com SIP/2.0"))
    assert isinstance(cancel, CancelReceived)
    assert cancel.invite_key == invite.key
    respond(wire, cancel, 200)
    respond(wire, invite, 487)
    assert wire.sent_lines() == ["200", "487"]
    assert wire.receive(sip_text("CANCEL sip:bot@example.com SIP/2.0")) == []
    assert wire.sent_lines() == ["200"]


def test_a_cancel_of_nothing_names_nothing(wire, sip_text) -> None:
    (cancel,) = wire.receive(sip_text("CANCEL sip:bot@example.com SIP/2.0"))
    assert isinstance(cancel, CancelReceived)
    assert cancel.invite_key is None
    assert respond(wire, cancel, 481)


def test_a_response_with_a_foreign_branch_is_a_stray(wire, sip_text) -> None:
    (event,) = wire.receive(sip_text("SIP/2.0 200 OK"))
    assert isinstance(event, ResponseStray)
    assert event.response.via.branch == "z9hG4bK-1"


def test_a_malformed_request_is_answered_at_once_and_leaves_no_trace(wire, sip_text) -> None:
    data = sip_text(INVITE, cseq="x INVITE", via="SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK-1")
    (event,) = wire.receive(data, NATTED)
    assert isinstance(event, MalformedReceived)
    assert (event.error.status, event.data, event.source, event.is_answered) == (400, data, NATTED, True)
    ((out, destination),) = wire.layer.datagrams_to_send(0)
    assert out.startswith(b"SIP/2.0 400 Malformed CSeq\r\n")
    assert b"To: <sip:bot@example.com>;tag=token1\r\n" in out
    assert b"CSeq: x INVITE\r\n" in out
    assert destination == NATTED
    assert wire.layer.live_transactions == 0
    assert wire.layer.next_timer() is None


def test_a_malformed_ack_or_a_request_without_via_is_not_answered(wire, sip_text) -> None:
    for data in (
        sip_text("ACK sip:a@b SIP/2.0", cseq="x ACK"),
        sip_text(INVITE, via=None),
        sip_text("SIP/2.0 200 OK", cseq="x"),
        b"nonsense",
    ):
        (event,) = wire.receive(data)
        assert isinstance(event, MalformedReceived)
        assert not event.is_answered
    assert wire.layer.datagrams_to_send(0) == []


def test_keep_alives_are_nothing(wire) -> None:
    for data in (b"", b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b" "):
        assert wire.receive(data) == []
    assert wire.layer.datagrams_to_send(0) == []


def test_a_full_layer_says_503_and_keeps_what_it_has(new_wire, sip_text) -> None:
    wire = new_wire(max_transactions=1)
    (event,) = wire.receive(sip_text(INVITE))
    assert wire.receive(sip_text(INVITE, call_id="second")) == []
    ((refusal, _),) = wire.sent()
    assert (refusal.status, refusal.headers.get("Retry-After"), refusal.call_id) == (503, "5", "second")
    assert wire.receive(sip_text(INVITE)) == []
    respond(wire, event, 200)
    assert wire.sent_lines() == ["200"]


def test_a_forgotten_transaction_absorbs_nothing_and_says_nothing(wire, sip_text) -> None:
    (event,) = wire.receive(sip_text(INVITE))
    wire.layer.forget(event.key)
    wire.layer.forget(event.key)
    assert wire.run_until(100) == []
    assert wire.layer.next_timer() is None
    assert wire.events() == []
    assert not respond(wire, event, 200)
    assert len(wire.receive(sip_text(INVITE))) == 1


def test_raw_messages_are_sent_as_they_are(wire, sip_text) -> None:
    wire.layer.send_raw(b"octets", NATTED)
    (event,) = wire.receive(sip_text("OPTIONS sip:bot@example.com SIP/2.0"))
    wire.layer.send_raw(make_response(event.request, 200), NATTED)
    (first, second) = wire.layer.datagrams_to_send(0)
    assert first == (b"octets", NATTED)
    assert second[0].startswith(b"SIP/2.0 200 OK")
    assert wire.layer.datagrams_to_send(0) == []


def test_branches_are_fresh(wire) -> None:
    assert (wire.layer.new_branch(), wire.layer.new_branch()) == ("z9hG4bK-token1", "z9hG4bK-token2")


def test_a_late_clock_fires_everything_that_is_due_once(wire, sip_text) -> None:
    (event,) = wire.receive(sip_text(INVITE))
    respond(wire, event, 486)
    wire.sent()
    wire.now = 3.0
    wire.layer.handle_timer(3.0)
    assert wire.sent_lines() == ["486"]
    assert wire.layer.next_timer() == 4.0


def test_no_timer_is_left_when_all_transactions_are_gone(wire, sip_text) -> None:
    for number in range(50):
        (event,) = wire.receive(sip_text(INVITE, call_id=f"c{number}"))
        respond(wire, event, 200 if number % 2 else 486)
    wire.run_until(100)
    assert wire.layer.live_transactions == 0
    assert wire.layer.next_timer() is None


def screened_wire(wire, outcome):
    asked = []

    def screen(request, source, now):
        asked.append((request.method, source.host, now))
        return outcome(request) if callable(outcome) else outcome

    return type(wire)(screen=screen), asked


def test_a_request_that_is_screened_out_leaves_no_trace(wire, sip_text) -> None:
    wire, asked = screened_wire(wire, Screening.DROP)
    assert wire.receive(sip_text(INVITE)) == []
    assert wire.sent() == []
    assert wire.layer.live_transactions == 0
    assert wire.layer.next_timer() is None
    assert asked == [("INVITE", "192.0.2.1", 0.0)]


def test_a_stateless_refusal_is_sent_once_for_each_copy_and_nothing_is_remembered(wire, sip_text) -> None:
    wire, _ = screened_wire(wire, lambda request: make_response(request, 403, to_tag="t"))
    for _ in range(2):
        assert wire.receive(sip_text(INVITE)) == []
        ((response, destination),) = wire.sent()
        assert (response.status, response.to.tag, destination.host) == (403, "t", "192.0.2.1")
    assert wire.layer.live_transactions == 0
    assert wire.layer.next_timer() is None


def test_only_what_begins_a_transaction_is_screened(wire, sip_text) -> None:
    wire, asked = screened_wire(wire, Screening.TAKE)
    wire.receive(sip_text(INVITE))
    wire.receive(sip_text(INVITE))
    wire.receive(sip_text("ACK sip:bot@example.com SIP/2.0", cseq="1 ACK"))
    wire.receive(sip_text("CANCEL sip:bot@example.com SIP/2.0", cseq="1 CANCEL"))
    assert [method for method, *_ in asked] == ["INVITE", "CANCEL"]


def test_an_open_invite_and_an_open_request_are_known_by_name_until_they_end(wire, sip_text) -> None:
    assert not wire.layer.has_invite("call-1@192.0.2.1")
    (event,) = wire.receive(sip_text(INVITE))
    (other,) = wire.receive(sip_text(INVITE, cseq="2 INVITE"))
    wire.layer.forget(event.key)
    assert wire.layer.has_invite("call-1@192.0.2.1")
    wire.layer.forget(other.key)
    wire.layer.forget(other.key)
    assert not wire.layer.has_invite("call-1@192.0.2.1")
    (ping,) = wire.receive(sip_text("OPTIONS sip:bot@example.com SIP/2.0"))
    assert not wire.layer.has_invite(ping.key.call_id)
    request = new_request(
        "BYE",
        parse_uri("sip:alice@192.0.2.1"),
        from_="<sip:bot@example.com>;tag=b",
        to="<sip:alice@example.net>;tag=a1",
        call_id="call-1",
        cseq=1,
        via="SIP/2.0/UDP 192.0.2.50;branch=z9hG4bK-edge-1",
    )
    wire.layer.send_request(request, NATTED, 0.0)
    assert wire.layer.has_request("z9hG4bK-edge-1")
    wire.run_until(100.0)
    assert not wire.layer.has_request("z9hG4bK-edge-1")
