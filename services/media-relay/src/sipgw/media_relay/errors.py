"""Errors of the relay.

RelayError
├── PortRangeError     the RTP port range can't serve (flags)
└── SpecError          a command asks what the relay can't do: INVALID, the message names the field
"""


class RelayError(Exception):
    """Root of the relay's own errors."""


class PortRangeError(RelayError):
    """The flags' range of RTP ports can't be used. The message gives cause and cure."""


class SpecError(RelayError):
    """The relay can't serve a MediaSpec, BotSpec or RecordingSpec. The message names the field."""
