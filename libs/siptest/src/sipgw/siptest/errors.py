"""Failures of a call, as the phone sees them.

SipTestError
├── CallRefused    a final response of 300-699, or our CANCEL took effect (487)
├── CallTimedOut   nothing came in time
├── CallOver       the call has ended; the request makes no sense any more
└── NoRoute        a URI that can't be called: not sip, or a name that does not resolve
"""

import re
from typing import Final

from sipgw.sip import SipResponse

_WARNING: Final = re.compile(r'"([^"]*)"')


class SipTestError(Exception):
    """Root of the package's errors."""


class CallRefused(SipTestError):
    """The other side refused the call."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason

    @classmethod
    def by(cls, response: SipResponse) -> "CallRefused":
        """Make the refusal from `response`, with the text of its Warning (RFC 3261 §20.43)."""
        return cls(response.status, refusal_of(response))


def refusal_of(response: SipResponse) -> str:
    """Return the reason phrase, and the text of a Warning."""
    quoted = _WARNING.search(response.headers.get("Warning") or "")
    return f"{response.reason}: {quoted[1]}" if quoted is not None else response.reason


class CallTimedOut(SipTestError):
    """The other side gave no answer in time."""


class CallOver(SipTestError):
    """The call has ended."""


class NoRoute(SipTestError):
    """The URI can't be called."""
