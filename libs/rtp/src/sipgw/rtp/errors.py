"""Errors of datagrams and of kernels.

RtpError
├── RtpParseError        the peer sent no RTP
└── KernelsUnavailable   the machine code of the hot path is missing
"""


class RtpError(Exception):
    """Root of the package's errors."""


class RtpParseError(RtpError):
    """The datagram is no RTP packet; the message says why."""


class KernelsUnavailable(RtpError):
    """There is no machine code for the hot path; the message names the cause and the cure."""
