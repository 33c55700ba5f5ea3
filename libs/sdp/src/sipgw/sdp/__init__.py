"""Session descriptions (RFC 8866) and offer/answer (RFC 3264)."""

from sipgw.sdp.attributes import Attribute, Direction, RtcpAddress, RtpMap
from sipgw.sdp.capabilities import PCMA, PCMU, CodecCapability, MediaCapabilities
from sipgw.sdp.errors import AnswerMismatch, NegotiationError, NoCommonCodec, SdpError, SdpParseError
from sipgw.sdp.lines import SdpLine
from sipgw.sdp.negotiation import (
    Answer,
    NegotiatedMedia,
    TelephoneEventMedia,
    accept_answer,
    answer_offer,
)
from sipgw.sdp.offers import make_offer, move_offer, renew_offer
from sipgw.sdp.session import Connection, MediaDescription, Origin, SessionDescription

__all__ = [
    "PCMA",
    "PCMU",
    "Answer",
    "AnswerMismatch",
    "Attribute",
    "CodecCapability",
    "Connection",
    "Direction",
    "MediaCapabilities",
    "MediaDescription",
    "NegotiatedMedia",
    "NegotiationError",
    "NoCommonCodec",
    "Origin",
    "RtcpAddress",
    "RtpMap",
    "SdpError",
    "SdpLine",
    "SdpParseError",
    "SessionDescription",
    "TelephoneEventMedia",
    "accept_answer",
    "answer_offer",
    "make_offer",
    "move_offer",
    "renew_offer",
]
