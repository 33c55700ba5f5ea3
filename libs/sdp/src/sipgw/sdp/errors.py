"""Errors of session descriptions.

SdpError                 the root; ``sip_status`` is the response to the request with the description
├── SdpParseError        the peer's text is no SDP (400)
└── NegotiationError     well-formed, but the two sides have nothing to agree on (488)
    ├── NoCommonCodec    no audio stream with a codec of ours
    └── AnswerMismatch   an answer that does not fit the offer it answers
"""


class SdpError(Exception):
    """Root of the package's errors."""

    sip_status = 488


class SdpParseError(SdpError):
    """The text is not a session description; ``line`` counts from 1, 0 for the whole."""

    sip_status = 400

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"SDP line {line}: {problem}" if line else f"SDP: {problem}")
        self.line = line
        self.problem = problem


class NegotiationError(SdpError):
    """The descriptions are well-formed but incompatible."""


class NoCommonCodec(NegotiationError):
    """There is no audio stream with a codec of ours: SIP 488."""


class AnswerMismatch(NegotiationError):
    """The answer does not belong to the offer (RFC 3264 §6)."""
