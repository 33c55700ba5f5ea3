"""A message of the size of a datagram is read in linear time, with any content of its headers.

One datagram whose reading took the square of its size would hold the edge up for seconds.
"""

import contextlib
import time
from typing import Final

import pytest

from sipgw.sip import (
    Dialog,
    ParserLimits,
    SipParseError,
    SipRequest,
    UasCapabilities,
    inspect_request,
    make_response,
    parse_message,
)

SIZE: Final = 60_000
LIMITS: Final = ParserLimits(head_bytes=2 * SIZE, line_characters=2 * SIZE)
"""Wider than the usual limits, so that the time of a slow reader shows."""
MOST_CPU_S: Final = 0.5
"""Linear reading takes a few milliseconds; quadratic reading took five seconds."""
HEADERS: Final = {
    "Via": "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa",
    "From": "<sip:a@192.0.2.1>;tag=a",
    "To": "<sip:b@192.0.2.2>",
    "Call-ID": "c",
    "CSeq": "1 INVITE",
    "Contact": "<sip:a@192.0.2.1>",
    "Max-Forwards": "70",
    "Route": "<sip:r@192.0.2.3;lr>",
    "Record-Route": "<sip:r@192.0.2.3;lr>",
    "Require": "",
    "Accept": "application/sdp",
    "Authorization": 'Digest username="a"',
    "Content-Type": "application/sdp",
}
FRAGMENTS: Final = (
    *("a,", "a<b,", "a<b>x,", "<,", "<a>,", "sip:a,", 'a,"', '"a",', '"a\\', "a ", " \t", "<", ">", '"'),
    *(
        ";a",
        ";",
        "; ;",
        ';a="',
        ";a=b",
        ';"',
        "a b;",
        ";tag",
        "=",
        "\\",
        "%41",
        "\r\n ",
        "@",
        "[",
        ":1",
        "sip:",
    ),
)


def read(data: bytes) -> None:
    """Read every part of an INVITE that the edge reads."""
    request = parse_message(data, LIMITS)
    assert isinstance(request, SipRequest)
    with contextlib.suppress(SipParseError):
        response = inspect_request(request, UasCapabilities(), to_tag="t") or make_response(
            request, 200, to_tag="t"
        )
        Dialog.from_uas(request, response)
    with contextlib.suppress(SipParseError):
        tuple(request.contacts)


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_is_read_in_linear_time(header: str) -> None:
    for fragment in FRAGMENTS:
        for before in ("", HEADERS[header]):
            filled = {**HEADERS, header: before + fragment * (SIZE // len(fragment))}
            lines = "".join(f"{name}: {value}\r\n" for name, value in filled.items())
            data = f"INVITE sip:b@192.0.2.2 SIP/2.0\r\n{lines}Content-Length: 0\r\n\r\n".encode()
            begun = time.process_time()
            with contextlib.suppress(SipParseError):
                read(data)
            assert time.process_time() - begun < MOST_CPU_S, (fragment, before)
