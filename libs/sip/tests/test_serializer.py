"""serialize: exact octets, Content-Length, no injected headers."""

import pytest

from sipgw.sip import Headers, SipRequest, SipResponse, SipUri, UnsafeHeader, parse_message, serialize

URI = SipUri.parse("sip:a@b")


def test_the_octets_of_a_request() -> None:
    request = SipRequest("INFO", URI, Headers([("v", "x"), ("X-Own", "é")]), b"\x00\xff")
    assert serialize(request) == (
        b"INFO sip:a@b SIP/2.0\r\nVia: x\r\nX-Own: \xc3\xa9\r\nContent-Length: 2\r\n\r\n\x00\xff"
    )


def test_the_octets_of_a_response() -> None:
    assert serialize(SipResponse(200, "OK", Headers())) == b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert serialize(SipResponse(100, "", Headers())).startswith(b"SIP/2.0 100 \r\n")


def test_a_wrong_content_length_is_corrected_in_place_and_written_once() -> None:
    headers = Headers([("l", "99"), ("X-Y", "y"), ("Content-Length", "7")])
    assert serialize(SipResponse(200, "OK", headers, b"abc")) == (
        b"SIP/2.0 200 OK\r\nContent-Length: 3\r\nX-Y: y\r\n\r\nabc"
    )


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nEvil: 1", "a\rEvil: 1"])
def test_a_line_break_is_never_sent(value: str) -> None:
    with pytest.raises(UnsafeHeader):
        serialize(SipRequest("INFO", URI, Headers([("X-Y", value)])))
    with pytest.raises(UnsafeHeader):
        serialize(SipResponse(200, value, Headers()))


def test_unknown_headers_and_their_order_are_kept(sip_text) -> None:
    data = sip_text("OPTIONS sip:a@b SIP/2.0", x_first="1", p_odd__="2", subject="", x_last=";;,")
    message = parse_message(data)
    again = parse_message(serialize(message))
    assert again == message
    assert [name for name, _ in again.headers][-4:] == ["p-odd", "Subject", "x-last", "Content-Length"]
