"""The speed of libs/sip alone: one core, no socket.

python bench/sip_parse.py [--seconds 2]

Prints messages/s and µs per message of: parsing a typical INVITE, making and serialising its 200, the whole
transaction layer for one call set-up and end (INVITE, 100, 200, ACK, BYE, 200), and parsing a response.
"""

import argparse
import itertools
import time
from collections.abc import Callable

from sipgw.sip import Address, TransactionLayer, make_response, parse_message, serialize
from sipgw.sip.message import SipRequest

SDP = (
    b"v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n"
    b"m=audio 54400 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
)
INVITE = (
    b"INVITE sip:+4930123456@gw.example.com:5060;transport=udp SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 198.51.100.4:5060;rport;branch=z9hG4bKPj5fa0c3%d\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.1:5062;received=203.0.113.1;branch=z9hG4bK-524287-1---1\r\n"
    b"Record-Route: <sip:198.51.100.4;lr;ftag=88a7s>\r\n"
    b"Max-Forwards: 69\r\n"
    b'From: "Alice Example" <sip:+49301111111@carrier.example.net>;tag=88a7s\r\n'
    b"To: <sip:+4930123456@gw.example.com>\r\n"
    b"Contact: <sip:+49301111111@203.0.113.1:5062;transport=udp>\r\n"
    b"Call-ID: 3848276298220188511-%d@203.0.113.1\r\n"
    b"CSeq: 102 INVITE\r\n"
    b"Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE, PRACK\r\n"
    b"Supported: timer, 100rel, replaces\r\n"
    b"Session-Expires: 1800;refresher=uac\r\n"
    b"User-Agent: Carrier SBC 7.2\r\n"
    b"P-Asserted-Identity: <sip:+49301111111@carrier.example.net>\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: " + str(len(SDP)).encode() + b"\r\n\r\n" + SDP
)
SOURCE = Address("UDP", "198.51.100.4", 5060)


def measure(name: str, step: Callable[[], object], messages: int, seconds: float) -> None:
    """Run `step` for about `seconds` and print its rate; a step counts `messages`."""
    for _ in range(200):
        step()
    steps, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        for _ in range(100):
            step()
        steps += 100
    rate = steps * messages / elapsed
    print(f"{name:<46} {rate:>9,.0f} messages/s  {1e6 / rate:>6.1f} µs each")


def call_steps() -> Callable[[], None]:
    """Return a step that takes one call through a transaction layer, as an edge does."""
    tokens = itertools.count()
    layer = TransactionLayer(token=lambda: f"{next(tokens):x}")
    numbers = itertools.count()

    def follow_up(data: bytes, method: bytes, cseq: bytes) -> bytes:
        head = data.partition(b"\r\nContact:")[0]
        call_id = data.partition(b"Call-ID: ")[2].partition(b"\r\n")[0]
        head = head.replace(b"INVITE ", method + b" ", 1).replace(b"z9hG4bKPj", b"z9hG4bK" + method)
        head = head.replace(b"gw.example.com>", b"gw.example.com>;tag=ours")
        return head + b"\r\nCall-ID: " + call_id + b"\r\nCSeq: " + cseq + b" " + method + b"\r\n\r\n"

    def one_call() -> None:
        number = next(numbers)
        now = number * 0.002
        invite = INVITE % (number, number)
        layer.receive_datagram(invite, SOURCE, now)
        received = layer.next_event()
        layer.respond(received.key, make_response(received.request, 100), now)
        layer.respond(received.key, make_response(received.request, 200, to_tag="ours", body=SDP), now)
        layer.receive_datagram(follow_up(invite, b"ACK", b"102"), SOURCE, now)
        layer.next_event()
        layer.receive_datagram(follow_up(invite, b"BYE", b"103"), SOURCE, now)
        received = layer.next_event()
        layer.respond(received.key, make_response(received.request, 200), now)
        layer.datagrams_to_send(now)
        layer.handle_timer(now)
        while layer.next_event() is not None:
            pass

    return one_call


def main() -> None:
    """Run all measurements."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--seconds", type=float, default=2.0)
    seconds = arguments.parse_args().seconds
    data = INVITE % (1, 1)
    request = parse_message(data)
    assert isinstance(request, SipRequest)
    response = serialize(make_response(request, 200, to_tag="ours", body=SDP, content_type="application/sdp"))

    def parse_and_answer() -> bytes:
        message = parse_message(data)
        assert isinstance(message, SipRequest)
        return serialize(make_response(message, 200, to_tag="ours", body=SDP, content_type="application/sdp"))

    print(f"INVITE of {len(data)} octets, 200 of {len(response)}")
    measure("parse INVITE", lambda: parse_message(data), 1, seconds)
    measure("parse INVITE, make and serialise its 200", parse_and_answer, 1, seconds)
    measure("parse 200", lambda: parse_message(response), 1, seconds)
    measure("transaction layer, 6 messages a call", call_steps(), 6, seconds)


if __name__ == "__main__":
    main()
