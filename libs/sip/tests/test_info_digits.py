"""Keys in INFO bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.sip import Headers, PressedKey, SipRequest, digits_of, has_digits, parse_uri

RELAY, PLAIN = "application/dtmf-relay", "application/dtmf"


def info(body: bytes, content_type: str) -> SipRequest:
    return SipRequest("INFO", parse_uri("sip:b@h"), Headers([("Content-Type", content_type)]), body)


@pytest.mark.parametrize(
    ("body", "content_type", "keys"),
    [
        (b"Signal=5\r\nDuration=160\r\n", RELAY, [PressedKey("5", 160)]),
        (b"Signal= 5\r\nDuration= 160", RELAY, [PressedKey("5", 160)]),
        (b"Signal=5\nDuration=160\n", "Application/DTMF-Relay ; x=1", [PressedKey("5", 160)]),
        (b"duration=250\r\nSIGNAL = *", RELAY, [PressedKey("*", 250)]),
        (b"Signal=#", RELAY, [PressedKey("#", 100)]),
        (b"Signal=10\r\nDuration=0", RELAY, [PressedKey("*", 100)]),
        (b"Signal=11\r\nDuration=99999", RELAY, [PressedKey("#", 60_000)]),
        (b"Signal=d\r\n", RELAY, [PressedKey("D", 100)]),
        (b"Signal=12\r\n", RELAY, [PressedKey("A", 100)]),
        (b"Signal=16\r\nDuration=100", RELAY, []),
        (b"Signal=\r\nDuration=100", RELAY, []),
        (b"", RELAY, []),
        (b"5", PLAIN, [PressedKey("5", 100)]),
        (b"5\r\n", PLAIN, [PressedKey("5", 100)]),
        (b" # \0", PLAIN, [PressedKey("#", 100)]),
        (b"x", PLAIN, []),
        (b"Signal=5", "text/plain", []),
        (
            b"--b\r\nContent-Type: %b\r\n\r\n1\r\n--b\r\nContent-Type: %b\r\n\r\n2\r\n--b--"
            % (PLAIN.encode(), PLAIN.encode()),
            "multipart/mixed;boundary=b",
            [PressedKey("1", 100), PressedKey("2", 100)],
        ),
    ],
)
def test_a_key_is_read(body: bytes, content_type: str, keys: list[PressedKey]) -> None:
    request = info(body, content_type)
    assert list(digits_of(request)) == keys
    assert has_digits(request) is (bool(body) and "text" not in content_type)


@given(st.binary(max_size=100), st.sampled_from([RELAY, PLAIN]))
def test_any_body_is_keys_or_none(body: bytes, content_type: str) -> None:
    assert all(one.key in "0123456789*#ABCD" for one in digits_of(info(body, content_type)))
