"""Sans-I/O RTP: packets, jitter, telephone events, reception."""

from sipgw.rtp.errors import RtpError, RtpParseError
from sipgw.rtp.packet import HeaderExtension, RtpPacket
from sipgw.rtp.telephone_event import (
    DigitEnded,
    DigitEvent,
    DigitStarted,
    DtmfReceiver,
    DtmfSender,
    EventPacket,
    TelephoneEvent,
)

__all__ = [
    "DigitEnded",
    "DigitEvent",
    "DigitStarted",
    "DtmfReceiver",
    "DtmfSender",
    "EventPacket",
    "HeaderExtension",
    "RtpError",
    "RtpPacket",
    "RtpParseError",
    "TelephoneEvent",
]
