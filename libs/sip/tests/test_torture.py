"""Every message of RFC 4475 and RFC 5118 gets an answer that tests/torture/index.tsv calls ok."""

import csv
from pathlib import Path

import pytest

from sipgw.sip import (
    Address,
    MalformedReceived,
    RequestReceived,
    ResponseStray,
    SipParseError,
    SipResponse,
    UasCapabilities,
    inspect_request,
    make_response,
    parse_message,
    serialize,
)

TORTURE = Path(__file__).parent / "torture"
INDEX = list(csv.DictReader((TORTURE / "index.tsv").read_text().splitlines(), delimiter="\t"))
SENDER = Address("UDP", "198.51.100.77", 5999)
PARSED = [row for row in INDEX if row["validity"] == "valid"]


def by_name(row: dict[str, str]) -> str:
    return Path(row["file"]).stem


def read(name: str) -> bytes:
    return next(TORTURE.glob(f"*/{name}.dat")).read_bytes()


def answer(wire, data: bytes) -> tuple[str, list[Address]]:
    """Return the response to `data`, and its destination, of an endpoint that knows no dialog.

    It accepts every request outside a dialog and responds 481 to the others.
    """
    for event in wire.receive(data, SENDER):
        if isinstance(event, RequestReceived):
            request = event.request
            status = 481 if request.to.tag else 200
            response = inspect_request(request, UasCapabilities(), to_tag="t") or make_response(
                request, status, to_tag="t"
            )
            assert wire.layer.respond(event.key, response, wire.now)
    sent = wire.layer.datagrams_to_send(wire.now)
    assert len(sent) <= 1
    return (sent[0][0].split(b" ")[1].decode(), [sent[0][1]]) if sent else ("none", [])


def allows(verdicts: str, status: str) -> bool:
    return any(
        status == verdict or (verdict.endswith("xx") and status[0] == verdict[0])
        for verdict in verdicts.split(",")
    )


@pytest.mark.parametrize("row", INDEX, ids=by_name)
def test_the_answer_is_one_that_the_index_calls_ok(row: dict[str, str], wire) -> None:
    status, _ = answer(wire, (TORTURE / row["file"]).read_bytes())
    assert allows(row["ok"], status), f"{status} is not in {row['ok']}"
    assert not allows(row["must_not"], status)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("badvers", "505"),
        ("unkscm", "416"),
        ("novelsc", "416"),
        ("bext01", "420"),
        ("invut", "415"),
        ("sdp01", "406"),
        ("intmeth", "501"),
        ("esc02", "501"),
        ("scalar02", "400"),
        ("ipv6-bad", "400"),
        ("badinv01", "400"),
    ],
)
def test_the_answer_is_the_ideal_one(name: str, status: str, wire) -> None:
    assert answer(wire, read(name))[0] == status


@pytest.mark.parametrize("row", PARSED, ids=by_name)
def test_a_valid_message_survives_serialising_and_parsing(row: dict[str, str]) -> None:
    message = parse_message((TORTURE / row["file"]).read_bytes())
    assert parse_message(serialize(message)) == message


@pytest.mark.parametrize("row", [row for row in INDEX if row["kind"] == "response"], ids=by_name)
def test_a_response_to_nothing_is_never_answered(row: dict[str, str], wire) -> None:
    events = wire.receive((TORTURE / row["file"]).read_bytes(), SENDER)
    assert [type(event) for event in events] in ([ResponseStray], [MalformedReceived])
    assert wire.layer.datagrams_to_send(0) == []


def test_tortuous_invite_is_read_right() -> None:
    message = parse_message(read("wsinv"))
    assert message.to.tag == "1918181833n"
    assert message.from_.display_name == 'J Rosenberg \\"'
    assert message.from_.tag == "98asjd8"
    assert message.max_forwards == 68
    assert message.cseq == (9, "INVITE")
    assert [(via.transport, via.host, via.branch) for via in message.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert message.headers.get("Subject") == ""
    assert message.headers.get("newfangledheader") == "newfangled value continued newfangled value"
    assert message.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert message.contact is not None
    assert message.contact.display_name == 'Quoted string ""'
    assert message.contact.params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    assert message.route is not None
    assert message.route.uri.is_loose_router
    assert len(message.body) == 150


def test_wide_range_of_characters_is_read_right() -> None:
    message = parse_message(read("intmeth"))
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.to.display_name == "BEL:\a NUL:\0 DEL:\x7f"
    assert message.from_.display_name == "token1~` token2'+_ token3*%!.-"
    assert message.from_.params["fromparam''~+*_!.-%"] == "работающий"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.via.branch == "z9hG4bK-.!%66*_+`'~"


def test_escapes_neither_make_a_scheme_nor_a_method_nor_a_header() -> None:
    sips = parse_message(read("esc01"))
    assert (sips.uri.scheme, sips.uri.user_text, sips.uri.host) == (
        "sip",
        "sips:user@example.com",
        "example.net",
    )
    assert sips.contact.uri.params == {"lr": None, "name": "v%61lue%25%34%31"}
    register = parse_message(read("esc02"))
    assert register.method == "RE%47IST%45R"
    assert [str(contact.uri) for contact in register.contacts] == [
        "sip:alias1@host1.example.com",
        "sip:alias3@host3.example.com",
    ]
    assert parse_message(read("escnull")).to.uri.user_text == "null-\0-null"


def test_semicolons_in_the_user_part_are_no_parameters() -> None:
    message = parse_message(read("semiuri"))
    assert message.uri.user_text == "user;par=u@example.net"
    assert message.uri.host == "example.com"
    assert message.tokens("Accept") == (
        "application/sdp",
        "application/pkcs7-mime",
        "multipart/mixed",
        "multipart/signed",
        "message/sip",
        "message/sipfrag",
    )


def test_parameters_without_brackets_belong_to_the_header() -> None:
    header = parse_message(read("cparam01")).contact
    assert (header.params, header.uri.params) == ({"unknownparam": None}, {})
    uri = parse_message(read("cparam02")).contact
    assert (uri.params, uri.uri.params) == ({}, {"unknownparam": None})


def test_the_second_request_of_a_datagram_is_not_answered(wire) -> None:
    events = wire.receive(read("dblreq"), SENDER)
    assert [event.request.method for event in events] == ["REGISTER"]
    assert events[0].request.body == b""


def test_all_vias_go_back_in_order(wire) -> None:
    (event,) = wire.receive(read("transports"), SENDER)
    response = make_response(event.request, 200, to_tag="t")
    assert [via.transport for via in response.vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]
    long_request = parse_message(read("longreq"))
    assert len(make_response(long_request, 200).vias) == 34


def test_nothing_goes_to_a_broadcast_address(wire) -> None:
    data = read("zeromf").replace(b"host1.example.com", b"host1.example.com;maddr=255.255.255.255")
    status, addresses = answer(wire, data)
    assert (status, addresses[0].host) == ("200", SENDER.host)


def test_the_unparsable_via_is_answered_to_the_sender(wire) -> None:
    assert answer(wire, read("badinv01"))[1] == [SENDER]


def test_both_spellings_of_received_are_read() -> None:
    for name in ("via-received-param-with-delim", "via-received-param-no-delim"):
        assert parse_message(read(name)).via.received == "2001:db8::9:255"


def test_ipv6_references_are_read_without_brackets() -> None:
    good = parse_message(read("ipv6-good"))
    assert (good.uri.host, good.uri.port, good.via.host) == ("2001:db8::10", None, "2001:db8::9:1")
    assert (parse_message(read("port-ambiguous")).uri.host, 5070) == ("2001:db8::10:5070", 5070)
    assert parse_message(read("port-unambiguous")).uri.port == 5070
    assert str(good.uri) == "sip:[2001:db8::10]"


def test_two_values_of_a_single_header_answer_with_the_first(wire) -> None:
    wire.receive(read("multi01"), SENDER)
    ((data, _),) = wire.layer.datagrams_to_send(0)
    assert data.startswith(b"SIP/2.0 400 Multiple Max-Forwards\r\n")
    for name in (b"\r\nFrom:", b"\r\nTo:", b"\r\nCall-ID:", b"\r\nCSeq:"):
        assert data.count(name) == 1
    assert isinstance(parse_message(data), SipResponse)


def test_escaped_headers_of_a_request_uri_are_refused() -> None:
    with pytest.raises(SipParseError, match="400") as caught:
        parse_message(read("escruri"))
    assert caught.value.request is not None
    assert caught.value.request.routes == ()
