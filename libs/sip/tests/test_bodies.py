"""Multipart bodies (RFC 5621, RFC 2046 §5.1): where the session is, and what has to be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.sip import Headers, UasCapabilities, inspect_request, parse_message
from sipgw.sip.bodies import parts_of

INVITE = "INVITE sip:bot@example.com SIP/2.0"
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n"
ISUP = b"\x01\x00\x60\x01\x0a"
CAPABILITIES = UasCapabilities()


def part(content: bytes, content_type: str | None = "application/sdp", **headers: str) -> bytes:
    named = {
        "Content-Type": content_type,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
    return head.encode() + b"\r\n" + content


def mixed(*parts: bytes, boundary: str = "b1") -> bytes:
    mark = b"--" + boundary.encode()
    return b"".join(mark + b"\r\n" + one + b"\r\n" for one in parts) + mark + b"--\r\n"


def request_with(sip_text, body: bytes, content_type: str = "multipart/mixed;boundary=b1", **headers: str):
    return parse_message(sip_text(INVITE, body=body, content_type=content_type, **headers))


def status_of(request) -> int:
    refusal = inspect_request(request, CAPABILITIES)
    return refusal.status if refusal is not None else 200


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (SDP, "application/sdp"),
        (SDP, "Application/SDP ; charset=utf-8"),
        (mixed(part(SDP)), "multipart/mixed;boundary=b1"),
        (mixed(part(SDP), part(ISUP, "application/isup")), 'Multipart/Mixed; boundary="b1"'),
        (mixed(part(ISUP, "application/isup"), part(SDP)), "multipart/mixed; version=1 ;boundary=b1"),
        (
            mixed(part(b"<x/>", "application/pidf+xml", Content_ID="<t@x>"), part(SDP)),
            "multipart/related;boundary=b1",
        ),
        (mixed(part(b"hello", "text/plain"), part(SDP)), "multipart/alternative;boundary=b1"),
        (
            mixed(
                part(mixed(part(SDP), boundary="b2"), "multipart/related;boundary=b2"),
                part(ISUP, "application/isup"),
            ),
            "multipart/mixed;boundary=b1",
        ),
        (b"preamble\r\n" + mixed(part(SDP)) + b"epilogue --b1", "multipart/mixed;boundary=b1"),
        (mixed(part(SDP)).replace(b"--b1--\r\n", b""), "multipart/mixed;boundary=b1"),
        (mixed(part(SDP, Content_Disposition="session;handling=required")), "multipart/mixed;boundary=b1"),
        (mixed(part(b"v=1", Content_Disposition="early-session"), part(SDP)), "multipart/mixed;boundary=b1"),
        (mixed(part(b"v=1"[::-1] + b"\r\n", None), part(SDP)), "multipart/mixed;boundary=b1"),
        (mixed(part(b"dj0wDQpvPS0gMSAxIElOIElQNCAxOTIuMC4yLjENCg==", Content_Transfer_Encoding="base64")),
         "multipart/mixed;boundary=b1"),
        (mixed(part(SDP), boundary="=_a'b+c:d/e?f"), "multipart/mixed;boundary=\"=_a'b+c:d/e?f\""),
    ],
)  # fmt: skip
def test_the_session_description_is_found(body: bytes, content_type: str, sip_text) -> None:
    request = request_with(sip_text, body, content_type)
    assert request.sdp.rstrip() == SDP.rstrip()
    assert status_of(request) == 200


def test_lines_may_end_in_lf_alone(sip_text) -> None:
    body = mixed(part(SDP), part(ISUP, "application/isup")).replace(b"\r\n", b"\n")
    assert request_with(sip_text, body).sdp.split() == SDP.split()


@pytest.mark.parametrize(
    ("disposition", "status"),
    [
        (None, 200),
        ("signal;handling=optional", 200),
        ("signal; handling = OPTIONAL", 200),
        ("signal", 200),
        ("signal;handling=required", 415),
        ('signal; HANDLING="Required"', 415),
    ],
)
def test_a_part_that_is_required_has_to_be_read(disposition: str | None, status: int, sip_text) -> None:
    headers = {} if disposition is None else {"Content_Disposition": disposition}
    request = request_with(sip_text, mixed(part(SDP), part(ISUP, "application/isup", **headers)))
    assert status_of(request) == status


@pytest.mark.parametrize(
    ("content_type", "disposition", "status"),
    [
        ("text/plain", None, 415),
        ("text/plain", "render;handling=required", 415),
        ("text/plain", "render; handling=optional", 200),
        ("multipart/mixed", None, 400),
        ("multipart/mixed;boundary=other", None, 400),
    ],
)
def test_a_body_that_holds_no_session(
    content_type: str, disposition: str | None, status: int, sip_text
) -> None:
    headers = {"content_disposition": disposition} if disposition else {}
    request = request_with(sip_text, mixed(part(SDP)), content_type, **headers)
    assert status_of(request) == status
    assert request.sdp == b""


@pytest.mark.parametrize("body", [b"", b"\r\n", b" \r\n\t"])
def test_an_empty_body_is_none(body: bytes, sip_text) -> None:
    request = request_with(sip_text, body, "application/sdp")
    assert (request.parts, request.sdp, status_of(request)) == ((), b"", 200)


@given(st.binary(max_size=200), st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=20))
def test_any_octets_are_parts_or_none(body: bytes, boundary: str) -> None:
    for content_type in (
        f"multipart/mixed;boundary={boundary}",
        f'multipart/alternative;boundary="{boundary}"',
    ):
        for octets in (body, b"--b1\r\n" + body, mixed(part(body), body)):
            for found in parts_of(Headers([("Content-Type", content_type)]), octets):
                assert isinstance(found.body, bytes)


@given(st.lists(st.binary(max_size=60).filter(lambda one: b"--b1" not in one), min_size=1, max_size=5))
def test_parts_come_out_as_they_went_in(contents: list[bytes]) -> None:
    headers = Headers([("Content-Type", "multipart/mixed;boundary=b1")])
    body = mixed(*(part(one, "application/isup") for one in contents))
    assert [one.body for one in parts_of(headers, body)] == contents


@pytest.mark.timeout(5)
@pytest.mark.parametrize("filling", [b"--b1\r\n", b"\r\n", b"--b1", b"a: b\r\n", b"-"])
def test_no_filling_makes_it_slow(filling: bytes, sip_text) -> None:
    for start in (b"", b"--b1\r\n"):
        request = request_with(sip_text, start + filling * (60_000 // len(filling)))
        assert len(request.parts) <= 32
