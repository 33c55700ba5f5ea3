from collections.abc import Callable

import pytest

from sipgw.sdp import Answer, MediaCapabilities, SessionDescription, answer_offer

OFFER = """v=0
o=caller 2890844526 2890844526 IN IP4 192.0.2.10
s=-
c=IN IP4 192.0.2.10
t=0 0
m=audio 49170 RTP/AVP 0 8 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
"""

MakeOffer = Callable[..., SessionDescription]
AnswerTo = Callable[..., Answer]


@pytest.fixture
def offer() -> MakeOffer:
    """Make offers: the usual one with lines changed (``was, now`` pairs), or with other lines from m= on."""

    def make(*changes: tuple[str, str], media: str | None = None, session: str = "") -> SessionDescription:
        text = OFFER
        if media is not None:
            text = text[: text.index("m=audio")] + session + media
        elif session:
            text = text.replace("t=0 0\n", "t=0 0\n" + session)
        for was, now in changes:
            assert was in text
            text = text.replace(was, now)
        return SessionDescription.parse(text.encode())

    return make


@pytest.fixture
def answer_to() -> AnswerTo:
    def answer(
        offered: SessionDescription, capabilities: MediaCapabilities | None = None, **more: object
    ) -> Answer:
        local: dict[str, object] = {
            "address": "198.51.100.1",
            "rtp_port": 20000,
            "session_id": 7,
            "session_version": 1,
            **more,
        }
        return answer_offer(offered, capabilities or MediaCapabilities(), **local)  # type: ignore[arg-type]

    return answer
