"""Errors of the relay. Those of reaching a bot imply the next step.

RelayError
├── PortRangeError             the RTP port range can't serve (flags)
├── SpecError                  a command asks what the relay can't do: INVALID, the message names the field
└── BotUnavailable             try again, elsewhere if possible
    ├── BotUnreachable         no connection: try again when its endpoint can be reached
    ├── TrunkUnimplemented     the bot has no Trunk: StreamCall
    └── BotUnimplemented       the bot has no RPC that the route allows: give up
"""


class RelayError(Exception):
    """Root of the relay's own errors."""


class PortRangeError(RelayError):
    """The flags' range of RTP ports can't be used. The message gives cause and cure."""


class SpecError(RelayError):
    """The relay can't serve a MediaSpec, BotSpec or RecordingSpec. The message names the field."""


class BotUnavailable(RelayError):
    """An attempt did not reach a bot. `str()` is the reason, for logs and for the edge."""


class BotUnreachable(BotUnavailable):
    """There is no connection to the bot."""


class TrunkUnimplemented(BotUnavailable):
    """The bot has no Trunk."""


class BotUnimplemented(BotUnavailable):
    """The bot has neither RPC, or not the one that the route wants."""
