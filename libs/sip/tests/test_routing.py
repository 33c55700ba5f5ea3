"""received, rport and the destination of responses (RFC 3261 §18.2, RFC 3581 §4)."""

import pytest

from sipgw.sip import Address, Via, parse_message, response_destination
from sipgw.sip.routing import stamp_source

SENDER = Address("UDP", "198.51.100.7", 4711)


def stamped(sip_text, via: str, source: Address = SENDER) -> Via:
    request = parse_message(sip_text("OPTIONS sip:a@b SIP/2.0", via=via))
    stamp_source(request, source)
    assert request.via == parse_message(sip_text("OPTIONS sip:a@b SIP/2.0", via=str(request.via))).via
    return request.via


@pytest.mark.parametrize(
    ("via", "received", "rport", "destination"),
    [
        ("SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa", None, None, ("198.51.100.7", 5060)),
        ("SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bKa", None, None, ("198.51.100.7", 5070)),
        ("SIP/2.0/UDP 10.0.0.5:5070;branch=z9hG4bKa", "198.51.100.7", None, ("198.51.100.7", 5070)),
        ("SIP/2.0/UDP host.example;branch=z9hG4bKa", "198.51.100.7", None, ("198.51.100.7", 5060)),
        ("SIP/2.0/UDP 10.0.0.5:5070;rport;branch=z9hG4bKa", "198.51.100.7", 4711, ("198.51.100.7", 4711)),
        ("SIP/2.0/UDP 198.51.100.7;rport;branch=z9hG4bKa", "198.51.100.7", 4711, ("198.51.100.7", 4711)),
        ("SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa;received=203.0.113.1", None, None, ("198.51.100.7", 5060)),
        ("SIP/2.0/UDP 10.0.0.5;received=203.0.113.1;rport=1", "198.51.100.7", 4711, ("198.51.100.7", 4711)),
        ("SIP/2.0/UDP 10.0.0.5:5070;maddr=192.0.2.99", "198.51.100.7", None, ("192.0.2.99", 5070)),
        ("SIP/2.0/UDP 10.0.0.5;maddr=192.0.2.99;rport", "198.51.100.7", 4711, ("192.0.2.99", 5060)),
        ("SIP/2.0/UDP 10.0.0.5;maddr=255.255.255.255", "198.51.100.7", None, ("198.51.100.7", 5060)),
        ("SIP/2.0/UDP 10.0.0.5;maddr=224.0.1.75", "198.51.100.7", None, ("198.51.100.7", 5060)),
        ("SIP/2.0/UDP 10.0.0.5;maddr=1.2.3.999", "198.51.100.7", None, ("198.51.100.7", 5060)),
        ("SIP/2.0/UDP 10.0.0.5;maddr=name.example", "198.51.100.7", None, ("198.51.100.7", 5060)),
    ],
)
def test_a_udp_response_finds_its_way_back(via: str, received, rport, destination, sip_text) -> None:
    top = stamped(sip_text, via)
    assert (top.received, top.rport) == (received, rport)
    assert response_destination(top, SENDER) == Address("UDP", *destination)


def test_a_stream_is_answered_on_its_connection(sip_text) -> None:
    source = Address("TCP", "198.51.100.7", 50123)
    top = stamped(sip_text, "SIP/2.0/TCP 10.0.0.5:5070;branch=z9hG4bKa", source)
    assert top.received == "198.51.100.7"
    assert response_destination(top, source) == source


def test_an_ipv6_sender_is_written_without_brackets(sip_text) -> None:
    source = Address("UDP", "2001:db8::7", 4711)
    top = stamped(sip_text, "SIP/2.0/UDP [2001:db8::1];rport;branch=z9hG4bKa", source)
    assert (top.received, response_destination(top, source)) == ("2001:db8::7", source)


def test_only_the_top_of_several_vias_is_changed(sip_text) -> None:
    line = "SIP/2.0/UDP 10.0.0.5;rport;branch=z9hG4bKa, SIP/2.0/TCP 10.0.0.6;branch=z9hG4bKb"
    request = parse_message(sip_text("OPTIONS sip:a@b SIP/2.0", via=line, v="SIP/2.0/TLS third"))
    stamp_source(request, SENDER)
    assert [(via.transport, via.received) for via in request.vias] == [
        ("UDP", "198.51.100.7"),
        ("TCP", None),
        ("TLS", None),
    ]
