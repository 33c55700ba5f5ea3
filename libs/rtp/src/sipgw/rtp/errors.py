"""What can be wrong with a datagram.

RtpError
└── RtpParseError    the peer sent no RTP
"""

from __future__ import annotations


class RtpError(Exception):
    """Root of the package's errors."""


class RtpParseError(RtpError):
    """The datagram is no RTP packet; the message says why."""
