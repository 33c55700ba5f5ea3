"""Errors of the relay.

RelayError
├── PortRangeError     the RTP port range can't serve (flags)
└── SpecError          a command asks what the relay can't do: INVALID, the message names the field
"""

from __future__ import annotations


class RelayError(Exception):
    """Root of the relay's own errors."""


class PortRangeError(RelayError):
    """The range of RTP ports that the flags give can't be used; says why and what to do."""


class SpecError(RelayError):
    """A MediaSpec, BotSpec or RecordingSpec that the relay can't serve; names the field."""
