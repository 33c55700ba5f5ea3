"""Errors of datagrams.

RtpError
└── RtpParseError    the peer sent no RTP
"""


class RtpError(Exception):
    """Root of the package's errors."""


class RtpParseError(RtpError):
    """The datagram is no RTP packet; the message says why."""
