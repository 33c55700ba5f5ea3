"""The errors of this package.

SipError
├── SipParseError         the peer broke the grammar or RFC 3261 §8.1.1; knows its response
├── OutOfOrder            a request of a dialog with a CSeq below the last one (RFC 3261 §12.2.2); answer 500
└── SipUsageError         our own side asked for something impossible
    └── UnsafeHeader      a line break in what should be one header line
"""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from sipgw.sip.message import SipRequest


class SipError(Exception):
    """Root of the package's errors."""


class SipParseError(SipError):
    """The peer violated the protocol.

    `status` and `reason` are the response to send. `request` holds what could be read of the request when a
    response can be sent; it is None for responses and for data that is not SIP at all.
    """

    def __init__(self, status: int, reason: str, request: "SipRequest | None" = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.request = request


class OutOfOrder(SipError):
    """The request's CSeq is lower than the dialog's last one: respond with `status` (RFC 3261 §12.2.2)."""

    status: ClassVar[int] = 500


class SipUsageError(SipError):
    """Our side asked for something that the protocol cannot do."""


class UnsafeHeader(SipUsageError):
    """A header or start line of ours holds CR or LF; sending it would let its text become headers."""
