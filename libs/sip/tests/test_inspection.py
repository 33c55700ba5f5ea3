"""inspect_request: the checks of RFC 3261 §8.2.1-8.2.3 in their order."""

import pytest

from sipgw.sip import UasCapabilities, inspect_request, parse_message

CAPABILITIES = UasCapabilities(methods=("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"), extensions=("timer",))
SDP = {"body": b"v=0", "content_type": "application/sdp"}


@pytest.mark.parametrize(
    ("start_line", "headers", "status", "because"),
    [
        ("INVITE sip:a@b SIP/2.0", SDP, None, None),
        ("INVITE sips:a@b SIP/2.0", {}, None, None),
        ("OPTIONS sip:a@b SIP/2.0", {"body": b"x", "content_type": "text/plain"}, None, None),
        ("REGISTER sip:b SIP/2.0", {}, 405, ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS")),
        ("NEWMETHOD sip:b SIP/2.0", {}, 501, ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS")),
        ("NEWMETHOD tel:1 SIP/2.0", {"require": "x"}, 501, None),
        ("INVITE tel:+49301 SIP/2.0", {"require": "x"}, 416, None),
        ("INVITE sip:a@b SIP/2.0", {"require": "Timer"}, None, None),
        ("INVITE sip:a@b SIP/2.0", {"require": "timer, 100rel,foo"}, 420, ("Unsupported", "100rel, foo")),
        ("CANCEL sip:a@b SIP/2.0", {"require": "foo"}, None, None),
        ("ACK tel:1 SIP/2.0", {"require": "foo"}, None, None),
        (
            "INVITE sip:a@b SIP/2.0",
            {"body": b"x", "content_type": "text/plain"},
            415,
            ("Accept", "application/sdp"),
        ),
        ("INVITE sip:a@b SIP/2.0", {"content_type": "text/plain"}, None, None),
        ("INVITE sip:a@b SIP/2.0", {"body": b"x"}, None, None),
        (
            "INVITE sip:a@b SIP/2.0",
            {"body": b"x", "content_type": "text/plain", "content_disposition": "render;handling=optional"},
            None,
            None,
        ),
        ("INVITE sip:a@b SIP/2.0", {**SDP, "content_encoding": "gzip"}, 415, ("Accept-Encoding", "identity")),
        ("INVITE sip:a@b SIP/2.0", {**SDP, "content_encoding": "identity"}, None, None),
        ("INVITE sip:a@b SIP/2.0", {**SDP, "accept": "text/x"}, 406, ("Accept", "application/sdp")),
        ("INVITE sip:a@b SIP/2.0", {**SDP, "accept": "text/x, application/SDP;q=0.5"}, None, None),
        ("INVITE sip:a@b SIP/2.0", {**SDP, "accept": "application/*"}, None, None),
        ("INVITE sip:a@b SIP/2.0", {**SDP, "accept": "*/*"}, None, None),
    ],
)
def test_a_request_is_refused_for_the_first_reason(start_line, headers, status, because, sip_text) -> None:
    response = inspect_request(parse_message(sip_text(start_line, **headers)), CAPABILITIES, to_tag="t")
    assert (response.status if response else None) == status
    if response is not None:
        assert response.to.tag == "t"
        assert because is None or response.headers.get(because[0]) == because[1]
