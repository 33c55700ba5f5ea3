"""sip and sips URIs (RFC 3261 §19.1)."""

import pytest

from sipgw.sip import OtherUri, SipParseError, SipUri, parse_uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip:example.com", SipUri("sip", None, host="example.com")),
        ("sip:alice@example.com", SipUri("sip", "alice", host="example.com")),
        ("SIPS:alice:pw@Example.com:5061", SipUri("sips", "alice", "pw", "Example.com", 5061)),
        ("sip:+49;phone-context=x@192.0.2.1", SipUri("sip", "+49;phone-context=x", host="192.0.2.1")),
        (
            "sip:a@[2001:db8::1]:5070;transport=TCP;lr",
            SipUri("sip", "a", None, "2001:db8::1", 5070, {"transport": "TCP", "lr": None}),
        ),
        (
            "sip:a@b;Method=REGISTER?to=c%40d&x=y",
            SipUri("sip", "a", None, "b", None, {"method": "REGISTER"}, "to=c%40d&x=y"),
        ),
        ("sip:*31#0301@b", SipUri("sip", "*31#0301", host="b")),
        ("sip:host;a=1;a=2", SipUri("sip", None, host="host", params={"a": "1"})),
        ("sip:user:@host", SipUri("sip", "user", "", "host")),
        ("sip:@host", SipUri("sip", "", host="host")),
        ('sip:host;x="a;b=c@d>, e"', SipUri("sip", None, host="host", params={"x": '"a;b=c@d>,%20e"'})),
        ('sip:a@host;x="1";lr', SipUri("sip", "a", host="host", params={"x": '"1"', "lr": None})),
        ("sip:a@host;methods=INVITE,BYE", SipUri("sip", "a", host="host", params={"methods": "INVITE,BYE"})),
    ],
)
def test_a_uri_is_taken_apart(text: str, expected: SipUri) -> None:
    assert SipUri.parse(text) == expected
    assert SipUri.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "sip:",
        "sip:a b@host",
        "sip:a@b@c",
        "sip:a@b;c@d",
        "sip:@",
        "sip:host:",
        'sip:host;x="open',
        "sip:host:port",
        "sip:host:65536",
        "sip:host:123456",
        "sip:2001:db8::10",
        "sip:[2001:db8::1",
        "sip:ho st",
        "sip:<host>",
        "nonsense",
        "",
        ":",
        "9sip:x",
    ],
)
def test_a_malformed_uri_is_400(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        parse_uri(text)
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["sip:host;", "sip:host;;", "sip:host;=", "sip:host?", "sip:host;;=x;?"])
def test_empty_parameters_and_headers_of_a_uri_are_left_out(text: str) -> None:
    assert str(SipUri.parse(text)) == "sip:host"


def test_another_scheme_stays_text() -> None:
    assert parse_uri("TEL:+49-30-123;ext=4") == OtherUri("tel", "+49-30-123;ext=4")
    assert str(parse_uri("urn:service:sos")) == "urn:service:sos"
    with pytest.raises(SipParseError) as caught:
        SipUri.parse("tel:+4930")
    assert caught.value.status == 416


def test_escapes_stay_and_the_text_is_readable() -> None:
    uri = SipUri.parse("sip:%23%20a@host")
    assert (uri.user, uri.user_text, str(uri)) == ("%23%20a", "# a", "sip:%23%20a@host")
    assert SipUri.parse("sip:host").user_text == ""


def test_transport_and_loose_router_are_read() -> None:
    uri = SipUri.parse("sip:host;transport=tcp;LR=on")
    assert (uri.transport, uri.is_loose_router) == ("TCP", True)
    assert SipUri.parse("sip:host").transport is None


def test_a_request_uri_has_no_headers_and_no_method() -> None:
    uri = SipUri.parse("sip:a@b;method=INVITE;lr?Route=x").without_headers()
    assert str(uri) == "sip:a@b;lr"
