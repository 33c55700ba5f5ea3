"""10,000 mutated messages: the parser raises nothing but SipParseError, and the layer nothing at all."""

import random
from pathlib import Path

import pytest

from sipgw.sip import (
    Address,
    CancelReceived,
    RequestReceived,
    SipParseError,
    SipRequest,
    UasCapabilities,
    inspect_request,
    make_response,
    parse_message,
    serialize,
)
from sipgw.sip.dialog import Dialog

TORTURE = Path(__file__).parent / "torture"
SEEDS = [path.read_bytes() for path in sorted(TORTURE.glob("*/*.dat"))]
SOURCE = Address("UDP", "198.51.100.77", 5999)
PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"\"", b"<", b">", b"\\", b"=", b"@", b"%",
    b"%00", b"\x00", b"\xff", b"\xc3\xa9", b"SIP/2.0", b"Via: ", b"\r\n ", b"\r\n\r\n", b"sip:", b"[::]",
    b"99999999999", b"-1", b";tag=", b"Content-Length: 5\r\n", b"ACK", b"CANCEL", b"*", b"?", b";rport",
    b";maddr=1.2.3.4", b";received=x",
]  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Make one to six edits: flip bits, insert pieces, cut or repeat spans, copy from another message."""
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        span = data[at : at + rng.randint(1, 60)]
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + rng.choice(PIECES) + data[at:]
        elif kind == 2:
            data = data[:at] + data[at + len(span) :]
        elif kind == 3:
            data = data[:at] + span * rng.randint(2, 30) + data[at:]
        elif kind == 4:
            other = rng.choice(SEEDS)
            start = rng.randrange(len(other))
            data = data[:at] + other[start : start + rng.randint(1, 200)] + data[at:]
        else:
            data = data[:at] if rng.random() < 0.2 else data
    return data


@pytest.mark.parametrize("seed", range(10))
def test_mutated_messages_raise_only_the_parse_error(seed: int, wire) -> None:
    rng = random.Random(seed)
    answered = 0
    seen: set[tuple[int, type]] = set()
    for _ in range(1_000):
        data = mutate(rng.choice(SEEDS), rng)
        try:
            message = parse_message(data)
        except SipParseError as error:
            seen.add((error.status, type(error.request)))
        else:
            again = parse_message(serialize(message))
            assert again.cseq == message.cseq
        wire.now += 0.01
        for event in wire.receive(data, SOURCE):
            if isinstance(event, RequestReceived | CancelReceived):
                answer(wire, event)
        wire.layer.handle_timer(wire.now)
        for out, address in wire.layer.datagrams_to_send(wire.now):
            answered += 1
            assert out.startswith(b"SIP/2.0 ")
            assert b"\r\n\r\n" in out
            assert 0 < address.port < 65536 or address.port == 0
    assert answered > 500
    assert seen <= {(status, kind) for status in (400, 505, 513) for kind in (SipRequest, type(None))}
    wire.run_until(wire.now + 100)
    assert wire.layer.live_transactions == 0


def answer(wire, event: RequestReceived | CancelReceived) -> None:
    """Treat a request as the edge does: inspect it, respond, and make a dialog of an INVITE."""
    request = event.request
    response = inspect_request(request, UasCapabilities(), to_tag="t") or make_response(
        request, 200, to_tag="t"
    )
    if request.method == "INVITE":
        dialog = Dialog.from_uas(request, response)
        _, bye = dialog.next_request("BYE", "SIP/2.0/UDP 192.0.2.50;branch=z9hG4bK-1")
        serialize(bye)
    assert wire.layer.respond(event.key, response, wire.now)
    if response.is_failure:  # as if its ACK had come
        wire.layer.forget(event.key)
