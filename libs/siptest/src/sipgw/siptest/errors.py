"""What goes wrong in a call, as the phone sees it.

SipTestError
├── CallRefused    a final answer of 300-699, or a CANCEL of ours that won (487)
├── CallTimedOut   nothing came in time
├── CallOver       the call has ended; what was asked makes no sense any more
└── NoRoute        a URI that can't be called: not sip, or a name that does not resolve
"""

import re
from typing import Final

from sipgw.sip import SipResponse

_WARNING: Final = re.compile(r'"([^"]*)"')


class SipTestError(Exception):
    """Root of the package's errors."""


class CallRefused(SipTestError):  # noqa: N818
    """The other side said no."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason

    @classmethod
    def by(cls, response: SipResponse) -> "CallRefused":
        """The refusal that `response` is, with what its Warning says (RFC 3261 §20.43)."""
        return cls(response.status, refusal_of(response))


def refusal_of(response: SipResponse) -> str:
    """The reason phrase, and the text of a Warning."""
    quoted = _WARNING.search(response.headers.get("Warning") or "")
    return f"{response.reason}: {quoted[1]}" if quoted is not None else response.reason


class CallTimedOut(SipTestError):  # noqa: N818
    """The other side said nothing in time."""


class CallOver(SipTestError):  # noqa: N818
    """The call has ended."""


class NoRoute(SipTestError):  # noqa: N818
    """The URI can't be called."""
