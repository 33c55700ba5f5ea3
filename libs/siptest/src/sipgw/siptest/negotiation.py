"""The phone's side of offer and answer: one description whose version rises with each change."""

import secrets
from dataclasses import dataclass, field

from sipgw.sdp import (
    PCMA,
    PCMU,
    CodecCapability,
    Direction,
    MediaCapabilities,
    NegotiatedMedia,
    SessionDescription,
    accept_answer,
    answer_offer,
    make_offer,
)

CONTENT_TYPE = "application/sdp"
CODECS = {"PCMU": PCMU, "PCMA": PCMA}


def capabilities_of(codecs: tuple[str, ...], *, ptime_ms: int, telephone_event: bool) -> MediaCapabilities:
    """Return the capabilities of codec names: `("PCMA", "PCMU")`."""
    known: tuple[CodecCapability, ...] = tuple(CODECS[name.upper()] for name in codecs)
    return MediaCapabilities(codecs=known, telephone_event=telephone_event, ptime_ms=ptime_ms)


@dataclass(slots=True)
class Negotiation:
    """Makes offers, accepts answers, answers offers. Raises sdp's errors for incompatible media."""

    capabilities: MediaCapabilities
    address: str
    rtp_port: int
    direction: Direction = Direction.SENDRECV
    _session_id: int = field(default_factory=lambda: secrets.randbelow(1 << 31))
    _version: int = 0
    _offer: SessionDescription | None = None

    def offer(self, direction: Direction | None = None) -> bytes:
        """Make a new offer; `direction` is ours from here on."""
        if direction is not None:
            self.direction = direction
        self._version += 1
        self._offer = make_offer(
            self.capabilities,
            address=self.address,
            rtp_port=self.rtp_port,
            session_id=self._session_id,
            session_version=self._version,
            direction=self.direction,
        )
        return self._offer.to_bytes()

    def accept(self, answer: bytes) -> NegotiatedMedia:
        """Accept the peer's answer to our last offer."""
        assert self._offer is not None
        return accept_answer(self._offer, SessionDescription.parse(answer), self.capabilities)

    def answer(self, offer: bytes) -> tuple[bytes, NegotiatedMedia]:
        """Answer an offer; return the answer and the negotiated media."""
        self._version += 1
        answer = answer_offer(
            SessionDescription.parse(offer),
            self.capabilities,
            address=self.address,
            rtp_port=self.rtp_port,
            session_id=self._session_id,
            session_version=self._version,
            direction=self.direction,
        )
        return answer.session.to_bytes(), answer.media
