"""make_response, new_request, make_ack, make_cancel (RFC 3261 §8.1.1, §8.2.6, §9.1, §17.1.1.3)."""

import pytest

from sipgw.sip import (
    NameAddress,
    SipParseError,
    SipUri,
    Via,
    make_ack,
    make_cancel,
    make_response,
    new_request,
    parse_message,
    reason_phrase,
    serialize,
)


@pytest.fixture
def invite(sip_text):
    return parse_message(
        sip_text(
            "INVITE sip:bot@example.com SIP/2.0",
            via="SIP/2.0/UDP a;branch=z9hG4bKa, SIP/2.0/UDP b",
            v="SIP/2.0/UDP c",
            to="Bot <sip:bot@example.com>",
            record_route="<sip:p2;lr>, <sip:p1;lr>",
            route="<sip:gw;lr>",
            timestamp="54",
            contact="<sip:alice@192.0.2.1>",
        )
    )


def test_a_response_copies_what_it_must_as_it_came(invite) -> None:
    response = make_response(invite, 180, to_tag="t1")
    assert response.headers.items() == [
        ("Via", "SIP/2.0/UDP a;branch=z9hG4bKa, SIP/2.0/UDP b"),
        ("From", '"Alice" <sip:alice@example.net>;tag=a1'),
        ("To", "Bot <sip:bot@example.com>;tag=t1"),
        ("Call-ID", "call-1@192.0.2.1"),
        ("CSeq", "1 INVITE"),
        ("Via", "SIP/2.0/UDP c"),
        ("Record-Route", "<sip:p2;lr>, <sip:p1;lr>"),
    ]
    assert (response.status, response.reason) == (180, "Ringing")


def test_a_trying_has_no_tag_and_no_route_but_the_timestamp(invite) -> None:
    response = make_response(invite, 100, to_tag="t1")
    assert response.to.tag is None
    assert "Record-Route" not in response.headers
    assert response.headers.get("Timestamp") == "54"
    assert "Timestamp" not in make_response(invite, 180).headers


@pytest.mark.parametrize(
    ("to", "tagged"),
    [
        ("<sip:b@h>;", "<sip:b@h>;tag=t1"),
        ("<sip:b@h>;x=1; ", "<sip:b@h>;x=1;tag=t1"),
        ("<sip:b@h>;tag=", "<sip:b@h>;tag=t1"),
        ('"x;tag=1" <sip:b@h>', '"x;tag=1" <sip:b@h>;tag=t1'),
        ("<sip:b@h>; TAG = own", "<sip:b@h>; TAG = own"),
        ("<>", "<>;tag=t1"),
    ],
)
def test_our_tag_stands_in_a_to_that_has_none(to: str, tagged: str, sip_text) -> None:
    request = parse_message(sip_text("INVITE sip:b@h SIP/2.0", to=to))
    response = make_response(request, 200, to_tag="t1")
    assert response.headers.get("To") == tagged
    assert response.to.tag in {"t1", "own"}


def test_only_what_makes_a_dialog_copies_record_route(invite, sip_text) -> None:
    assert "Record-Route" in make_response(invite, 200).headers
    assert "Record-Route" not in make_response(invite, 404).headers
    bye = parse_message(sip_text("BYE sip:a@b SIP/2.0", record_route="<sip:p;lr>"))
    assert "Record-Route" not in make_response(bye, 200).headers


def test_a_tag_of_the_request_stays(sip_text) -> None:
    bye = parse_message(sip_text("BYE sip:a@b SIP/2.0", to="<sip:a@b>;tag=theirs"))
    assert make_response(bye, 200, to_tag="ours").to.tag == "theirs"


def test_a_tag_is_added_to_an_address_without_brackets(sip_text) -> None:
    request = parse_message(sip_text("OPTIONS sip:a@b SIP/2.0", to="sip:a@b"))
    assert make_response(request, 200, to_tag="t").headers.get("To") == "sip:a@b;tag=t"


def test_extra_headers_contact_and_body_are_added(invite) -> None:
    response = make_response(
        invite,
        200,
        "Fine",
        to_tag="t",
        contact=NameAddress("", SipUri.parse("sip:gw@h")),
        headers=[("Allow", "INVITE"), ("X-Own", "1")],
        body=b"v=0",
        content_type="application/sdp",
    )
    assert response.headers.items()[-4:] == [
        ("Contact", "<sip:gw@h>"),
        ("Allow", "INVITE"),
        ("X-Own", "1"),
        ("Content-Type", "application/sdp"),
    ]
    assert (response.reason, parse_message(serialize(response)).body) == ("Fine", b"v=0")


def test_a_partial_request_can_be_answered(sip_text) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_message(sip_text("INVITE sip:a@b SIP/2.0", to='"open <sip:a@b>', cseq="x INVITE"))
    request = caught.value.request
    assert request is not None
    assert make_response(request, 400, to_tag="t").headers.get("To") == '"open <sip:a@b>'


@pytest.mark.parametrize(
    ("status", "phrase"),
    [(200, "OK"), (299, "OK"), (487, "Request Terminated"), (499, "Bad Request"), (799, "Unknown")],
)
def test_every_status_has_a_phrase(status: int, phrase: str) -> None:
    assert reason_phrase(status) == phrase


def test_a_new_request_has_all_that_it_needs() -> None:
    request = new_request(
        "INVITE",
        SipUri.parse("sip:alice@h"),
        from_="<sip:gw@x>;tag=1",
        to=NameAddress("Alice", SipUri.parse("sip:alice@h")),
        call_id="c",
        cseq=3,
        via=Via("UDP", "192.0.2.50"),
        contact="<sip:gw@192.0.2.50>",
        routes=["<sip:p;lr>"],
        headers=[("Subject", "x")],
        body=b"v=0",
        content_type="application/sdp",
    )
    assert serialize(request).decode().split("\r\n") == [
        "INVITE sip:alice@h SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.50",
        "Max-Forwards: 70",
        "Route: <sip:p;lr>",
        "From: <sip:gw@x>;tag=1",
        "To: Alice <sip:alice@h>",
        "Call-ID: c",
        "CSeq: 3 INVITE",
        "Contact: <sip:gw@192.0.2.50>",
        "Subject: x",
        "Content-Type: application/sdp",
        "Content-Length: 3",
        "",
        "v=0",
    ]


def test_the_ack_of_a_failure_belongs_to_its_invite(invite) -> None:
    ack = make_ack(invite, make_response(invite, 486, to_tag="t9"))
    assert (ack.method, ack.uri, str(ack.cseq), ack.to.tag) == ("ACK", invite.uri, "1 ACK", "t9")
    assert ack.headers.get_all("Via") == ["SIP/2.0/UDP a;branch=z9hG4bKa"]
    assert ack.headers.get_all("Route") == ["<sip:gw;lr>"]
    assert parse_message(serialize(ack)).call_id == invite.call_id


def test_a_cancel_repeats_its_invite(invite) -> None:
    cancel = make_cancel(invite)
    assert (cancel.method, cancel.uri, str(cancel.cseq), cancel.to) == (
        "CANCEL",
        invite.uri,
        "1 CANCEL",
        invite.to,
    )
    assert cancel.headers.get_all("Via") == ["SIP/2.0/UDP a;branch=z9hG4bKa"]
    assert cancel.headers.get_all("Route") == ["<sip:gw;lr>"]
    assert cancel.headers.get("Require") is None
