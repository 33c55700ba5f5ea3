"""Via (RFC 3261 §20.42, RFC 3581, RFC 5118)."""

import pytest

from sipgw.sip import SipParseError, Via


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SIP/2.0/UDP host", Via("UDP", "host")),
        (
            "SIP/2.0/udp 192.0.2.1:5062;branch=z9hG4bKx",
            Via("UDP", "192.0.2.1", 5062, {"branch": "z9hG4bKx"}),
        ),
        ("SIP / 2.0 / TLS  a.b : 5061 ; rport ; ttl=1", Via("TLS", "a.b", 5061, {"rport": None, "ttl": "1"})),
        ("SIP/2.0/TCP [2001:db8::1]:5060", Via("TCP", "2001:db8::1", 5060)),
    ],
)
def test_a_via_is_read(text: str, expected: Via) -> None:
    assert Via.parse(text) == expected
    assert Via.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 host",
        "SIP/2.0/UDP host:",
        "SIP/2.0/UDP host:70000",
        "SIP/2.0/UDP host;",
        "SIP/2.0/UDP host;;branch=x",
        "SIP/2.0/UDP host branch=x",
        "SIP/2.0/UDP 2001:db8::1",
    ],
)
def test_a_malformed_via_is_400(text: str) -> None:
    with pytest.raises(SipParseError, match="400 Malformed Via"):
        Via.parse(text)


def test_the_parts_that_route_a_response_are_read() -> None:
    via = Via.parse("SIP/2.0/UDP Host.Example:5060;rport=4711;received=[2001:db8::7];branch=z9hG4bKa")
    assert (via.rport, via.wants_rport, via.received) == (4711, True, "2001:db8::7")
    assert (via.branch, via.sent_by) == ("z9hG4bKa", "host.example:5060")
    asked = Via.parse("SIP/2.0/UDP [2001:DB8::1];rport")
    assert (asked.rport, asked.wants_rport, asked.received) == (None, True, None)
    assert (asked.branch, asked.sent_by) == (None, "[2001:db8::1]")
    assert Via.parse("SIP/2.0/UDP h;rport=x").rport is None


@pytest.mark.parametrize(
    ("branch", "is_rfc3261"),
    [("z9hG4bKa", True), ("Z9HG4BKa", True), ("z9hG4bK", False), ("abc", False), ("", False)],
)
def test_only_a_branch_with_more_than_the_cookie_identifies(branch: str, is_rfc3261: bool) -> None:
    assert Via("UDP", "h", None, {"branch": branch}).has_rfc3261_branch is is_rfc3261


def test_parameters_are_set_on_a_copy() -> None:
    via = Via("UDP", "h")
    assert str(via.with_params(branch="z9hG4bKq")) == "SIP/2.0/UDP h;branch=z9hG4bKq"
    assert via.params == {}
