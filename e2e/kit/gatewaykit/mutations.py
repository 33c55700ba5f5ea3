"""Bad input from a seed: the mutations that fuzzers find first, mixed at random."""

import random

_EVIL = [
    *(
        b"\x00",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b" ",
        b"\t",
        b'"',
        b"<",
        b">",
        b";",
        b",",
        b":",
        b"@",
        b"%",
        b"%00",
        b"\\",
    ),
    *(b"99999999999999999999", b"-1", b"0", b"4294967296", b"\xff\xfe", b"\xc0\xaf", "é".encode(), b"%s%n"),
    *(
        b"A" * 2000,
        b"(" * 300,
        b"sip:" * 50,
        b"Content-Length: 5\r\n",
        b"Content-Length: -5\r\n",
        b"[::",
        b"z9hG4bK",
    ),
]


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Make one to six changes to `data`; the result is never empty, and fits a UDP datagram."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        place = dice.randrange(len(out) + 1)
        end = min(len(out), place + dice.randint(1, 40))
        match dice.randrange(7):
            case 0 if place < len(out):
                out[place] ^= 1 << dice.randrange(8)
            case 1:
                del out[place:end]
            case 2:
                out[place:place] = out[place:end]
            case 3:
                out[place:place] = dice.choice(_EVIL)
            case 4:
                out[place:end] = dice.choice(_EVIL)
            case 5:
                out[place:place] = dice.randbytes(dice.randint(1, 16))
            case _:
                if dice.random() < 0.2:
                    del out[place:]
    return bytes(out[:9000]) or b"\x00"


def sip_seeds(port: int, destination: tuple[str, int]) -> list[bytes]:
    """Return well-formed messages of every kind. No route takes the INVITEs, so that they make no calls."""
    host, sip_port = destination
    sdp = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        "m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    )
    seeds = []
    for method in (
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "REGISTER",
        "INFO",
        "UPDATE",
        "PRACK",
        "REFER",
    ):
        body = sdp if method in {"INVITE", "UPDATE"} else ""
        to_tag = (
            "" if method in {"INVITE", "OPTIONS", "REGISTER"} else ";tag=0123456789abcdef0123456789abcdef-1"
        )
        seeds.append(
            f"{method} sip:nobody@{host}:{sip_port} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKfuzz{method};rport\r\n"
            f'From: "F. Uzz" <sip:fuzz@127.0.0.1>;tag=fuzz\r\nTo: <sip:nobody@{host}>{to_tag}\r\n'
            f"Call-ID: fuzz-{method}@e2e\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:fuzz@127.0.0.1:{port}>\r\nSupported: 100rel, timer\r\nX-Long: {'x' * 100}\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
    responses = [
        f"SIP/2.0 {status} Whatever\r\nVia: SIP/2.0/UDP {host}:{sip_port};branch=z9hG4bK-edge-0-fuzz\r\n"
        f"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: fuzz-{status}\r\nCSeq: 1 INVITE\r\n"
        f"Contact: <sip:c@127.0.0.1>\r\nContent-Length: 0\r\n\r\n".encode()
        for status in (100, 180, 200, 486)
    ]
    return seeds + responses
