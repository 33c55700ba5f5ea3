"""A glance at the octets recognises every message of a live call, however it is written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.sip import (
    SipParseError,
    SipRequest,
    answer_challenges,
    new_request,
    parse_message,
    parse_uri,
    serialize,
)
from sipgw.sip.nonces import NoncePurpose, NonceState, check_nonce, make_nonce
from sipgw.sip_edge.guard.credentials_glance import read_nonces, read_purpose
from sipgw.sip_edge.guard.glance import Glance, LiveNames, Look

CALL = "0123456789abcdef0123456789abcdef"
TAG = f"{CALL}.89abcdef"
OTHER_TAG = f"{CALL[::-1]}.89abcdef01234567"
FORGED_TAG = f"{CALL[::-1]}.89abcdef01234560"
BRANCH = "z9hG4bK-edge-0-89abcdef-1f"
VIA = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"

GLANCE = Glance(
    LiveNames(
        has_call=lambda call_id: call_id == CALL,
        has_invite=lambda call_id: call_id == "Open@host",
        has_request=lambda branch: branch == BRANCH,
        has_challenged=lambda head, _lowered, _host: b"right" in head,
        may_be_ours=lambda call_id, rest: f"{call_id}.{rest}" == OTHER_TAG,
    )
)


def message(start: str, *lines: str) -> bytes:
    return "\r\n".join((start, VIA, *lines, "Content-Length: 0", "", "")).encode()


def request(method: str, to: str = "To: <sip:b@x>", call_id: str = "Call-ID: a@b", *more: str) -> bytes:
    return message(
        f"{method} sip:b@x SIP/2.0", "From: <sip:a@x>;tag=1", to, call_id, f"CSeq: 1 {method}", *more
    )


TO_OURS = [
    f"To: <sip:b@x>;tag={TAG}",
    f"t:<sip:b@x>;tag={TAG}",
    f"TO : <sip:b@x>; TAG = {TAG}",
    f"To: <sip:b@x>\r\n ;tag={TAG}",
    f"To: <sip:b@x>;tag\r\n\t=\r\n {TAG}",
    f'To: "b;tag={OTHER_TAG}" <sip:b@x>;x=y;tag={TAG};z',
]


@pytest.mark.parametrize("to", TO_OURS)
@pytest.mark.parametrize("method", ["BYE", "INVITE", "ACK", "INFO", "WHAT"])
def test_a_request_in_a_live_call_is_known_however_it_is_written(method: str, to: str) -> None:
    data = request(method, to)
    assert GLANCE.look(data, "h") is Look.OF_A_CALL
    assert GLANCE.look(b"\r\n\r\n" + data, "h") is Look.OF_A_CALL
    assert GLANCE.look(data.replace(b"\r\n", b"\n"), "h") is Look.OF_A_CALL
    parsed = parse_message(data)
    assert isinstance(parsed, SipRequest)
    assert parsed.to.tag == TAG


@given(
    st.text("tagTAG=; \t\r\n:<>0123abcdef.", max_size=40), st.text("tag=; \t\r\n:<>0123abcdef.", max_size=20)
)
def test_whatever_the_parser_reads_as_a_live_call_a_glance_does(before: str, between: str) -> None:
    data = request("BYE", f"To: <sip:b@x>{before};tag{between}={between}{TAG}")
    try:
        parsed = parse_message(data)
        tag = parsed.to.tag
    except SipParseError:
        return
    if tag is not None and tag[:32] == CALL:
        assert GLANCE.look(data, "h") is Look.OF_A_CALL


@pytest.mark.parametrize("to", [one.replace(TAG, OTHER_TAG) for one in TO_OURS])
@pytest.mark.parametrize("method", ["BYE", "INVITE", "ACK", "CANCEL", "WHAT"])
def test_a_request_with_a_tag_that_another_edge_made_may_be_of_its_call(method: str, to: str) -> None:
    assert GLANCE.look(request(method, to), "h") is Look.ELSEWHERE


@pytest.mark.parametrize("method", ["BYE", "ACK", "CANCEL", "INFO", "WHAT"])
def test_a_request_with_a_tag_that_no_edge_made_is_of_no_call(method: str) -> None:
    assert GLANCE.look(request(method, f"To: <sip:b@x>;tag={FORGED_TAG}"), "h") is Look.NOTHING


def test_an_invite_with_a_tag_that_no_edge_made_is_an_invite() -> None:
    forged = f"To: <sip:b@x>;tag={FORGED_TAG}"
    assert GLANCE.look(request("INVITE", forged), "h") is Look.INVITE
    proved = request("INVITE", forged, "Call-ID: a", "Authorization: Digest right")
    assert GLANCE.look(proved, "h") is Look.PROVED


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
@pytest.mark.parametrize("tag", [CALL[::-1], "89abcdef", f"{CALL[::-1]}.x"])
def test_ack_and_cancel_of_callers_whose_tags_are_not_in_our_form_may_be_of_another_edge(
    method: str, tag: str
) -> None:
    data = request(method).replace(b"tag=1", f"tag={tag}".encode())
    assert GLANCE.look(data, "h") is Look.ELSEWHERE


@pytest.mark.parametrize("name", ["Call-ID: ", "i:", "CALL-id : ", "i :\r\n "])
@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_ack_and_cancel_of_an_invite_that_is_being_answered_are_known(method: str, name: str) -> None:
    assert GLANCE.look(request(method, call_id=f"{name}Open@host"), "h") is Look.OF_A_CALL
    assert GLANCE.look(request(method, call_id=f"{name}other"), "h") is Look.ELSEWHERE
    forged = f"To: <sip:b@x>;tag={FORGED_TAG}"
    assert GLANCE.look(request(method, forged, call_id=f"{name}Open@host"), "h") is Look.OF_A_CALL


@pytest.mark.parametrize("start", ["SIP/2.0 200 OK", "sip/2.0 180 Ringing", "SIP/2.0 100"])
def test_a_response_that_is_awaited_is_known(start: str) -> None:
    ours = VIA.replace("z9hG4bK1", BRANCH)
    assert GLANCE.look(message(start).replace(VIA.encode(), ours.encode()), "h") is Look.OF_A_CALL
    spaced = ours.replace("branch=", "Branch = ")
    assert GLANCE.look(message(start).replace(VIA.encode(), spaced.encode()), "h") is Look.OF_A_CALL
    theirs = ours.replace("edge-0", "edge-1")
    assert GLANCE.look(message(start).replace(VIA.encode(), theirs.encode()), "h") is Look.ELSEWHERE
    assert GLANCE.look(message(start), "h") is Look.NOTHING


@pytest.mark.parametrize(
    ("data", "look"),
    [
        (request("INVITE"), Look.INVITE),
        (request("INVITE", "To: <sip:b@x>;tag=abc"), Look.INVITE),
        (request("INVITE", "To: <sip:b@x>", "Call-ID: Open@host"), Look.INVITE),
        (request("INVITE", "To: <sip:b@x>", "Call-ID: a", "Authorization: Digest wrong"), Look.INVITE),
        (request("INVITE", "To: <sip:b@x>", "Call-ID: a", "authorization:Digest right"), Look.PROVED),
        (request("OPTIONS"), Look.NOTHING),
        (request("REGISTER", "To: <sip:b@x>", "Call-ID: a", "Authorization: Digest right"), Look.NOTHING),
        (b"", Look.NOTHING),
        (b"\x00" * 1000, Look.NOTHING),
        (b"GET / HTTP/1.1\r\n\r\n", Look.NOTHING),
    ],
    ids=str,
)
def test_what_is_of_no_call(data: bytes, look: Look) -> None:
    assert GLANCE.look(data, "h") is look


@given(st.binary(max_size=500))
def test_no_octets_make_a_glance_fail(data: bytes) -> None:
    for start in (b"", b"INVITE ", b"ACK ", b"SIP/2.0 ", b"INVITE \nAuthorization: "):
        assert GLANCE.look(start + data, "h") in Look


@pytest.mark.parametrize("algorithm_first", ["", 'Digest realm=other, nonce="other"\r\nAuthorization: '])
def test_the_nonce_of_an_invite_is_checked_unparsed(algorithm_first: str) -> None:
    key, source = b"k" * 32, "203.0.113.7"
    names = {"from_": '"A" <sip:a@x>;tag=from1', "to": "<sip:b@x>", "call_id": "Call 1@x".replace(" ", "")}
    challenged = NoncePurpose("test", source, names["call_id"], "from1", 1)
    nonce = make_nonce(key, challenged, 1000)
    line = f'Digest realm="test", nonce="{nonce}", algorithm=SHA-256, qop="auth"'
    credentials = answer_challenges(
        [line], method="INVITE", uri="sip:b@x", username="a", password=b"p", cnonce="c"
    )
    made = new_request(
        "INVITE",
        parse_uri("sip:b@x"),
        via="SIP/2.0/UDP x;branch=z9hG4bK1",
        contact="<sip:a@x>",
        cseq=2,
        headers=(("Authorization", str(credentials)),),
        **names,
    )
    data = re.sub(
        rb"Authorization: ", b"Authorization: " + algorithm_first.encode(), serialize(made), count=1
    )
    purpose = read_purpose(data, data.lower(), "test", source)
    assert purpose == NoncePurpose("test", source, names["call_id"], "from1", 2)
    assert any(
        check_nonce(key, one.decode(), purpose, 2000) is NonceState.FRESH
        for one in read_nonces(data, data.lower())
    )
    assert read_purpose(data, data.lower().replace(b"cseq", b"xxxx"), "test", source) is None
