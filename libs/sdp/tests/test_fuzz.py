"""Every input, however broken, gives an answer that parses again, or one of the package's own errors."""

import contextlib
import random

from hypothesis import given
from hypothesis import strategies as st

from sipgw.sdp import MediaCapabilities, SdpError, SessionDescription, accept_answer, answer_offer, make_offer

LOCAL = {"address": "198.51.100.1", "rtp_port": 20000, "session_id": 7, "session_version": 1}
SEED = b"""v=0\r
o=caller 2890844526 2890844526 IN IP4 192.0.2.10\r
s=-\r
c=IN IP4 192.0.2.10\r
t=0 0\r
m=audio 49170 RTP/AVP 0 8 96 101\r
a=rtpmap:96 opus/48000/2\r
a=rtpmap:101 telephone-event/8000\r
a=fmtp:101 0-16\r
a=rtcp:49171 IN IP4 192.0.2.10\r
a=ptime:20\r
a=maxptime:150\r
a=sendonly\r
m=video 0 RTP/AVP 31\r
"""
FRAGMENTS = (
    b"a=",
    b"m=audio ",
    b"c=IN IP4 ",
    b"/",
    b":",
    b" ",
    b"\r\n",
    b"\n",
    b"0",
    b"65536",
    b"-1",
    b"a=rtpmap:",
    b"\xff",
    b"=",
)


def feed(data: bytes) -> bool:
    """Return whether the text was answered."""
    with contextlib.suppress(SdpError):
        session = SessionDescription.parse(data)
        assert SessionDescription.parse(session.to_bytes()) == session
        with contextlib.suppress(SdpError):
            accept_answer(make_offer(MediaCapabilities(), **LOCAL), session, MediaCapabilities())
        answer = answer_offer(session, MediaCapabilities(), **LOCAL)
        again = SessionDescription.parse(answer.session.to_bytes())
        assert again == answer.session
        assert len(again.media) == len(session.media)
        return True
    return False


def mutate(data: bytes, chance: random.Random) -> bytes:
    text = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(4):
            case 0:
                text[at:at] = chance.choice(FRAGMENTS)
            case 1:
                del text[at : at + chance.randint(1, 12)]
            case 2:
                text[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                begin = chance.randrange(len(text) + 1)
                text[at:at] = text[begin : begin + chance.randint(1, 60)]
    return bytes(text)


def test_five_thousand_mutated_descriptions_raise_nothing_else():
    chance = random.Random(8866)
    answered = sum(feed(mutate(SEED, chance)) for _ in range(5000))
    assert 500 < answered < 5000


@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_else(data: bytes):
    feed(data)
    feed(b"v=0\no=- 1 1 IN IP4 h\n" + data)


def test_a_description_of_the_size_of_a_datagram_is_read_in_linear_time():
    formats = " ".join(str(number % 128) for number in range(8000))
    rtpmaps = "".join(f"a=rtpmap:{number % 300} x/{number}\n" for number in range(2000))
    text = f"v=0\no=- 1 1 IN IP4 h\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP {formats}\n{rtpmaps}"
    session = SessionDescription.parse(text.encode())
    assert len(session.media[0].rtp_formats) == 128
