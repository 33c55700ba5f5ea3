"""Errors of reaching a bot. Each implies the next step: try again elsewhere, try the other RPC, or give up.

BotUnavailable            try again, elsewhere if possible
├── BotUnreachable        no connection: try again when its endpoint can be reached
├── TrunkUnimplemented    the bot has no Trunk: StreamCall
└── BotUnimplemented      the bot has no RPC that the route allows: give up
"""


class BotUnavailable(Exception):
    """An attempt did not reach a bot. `str()` is the reason, for logs and for the edge."""


class BotUnreachable(BotUnavailable):
    """There is no connection to the bot."""


class TrunkUnimplemented(BotUnavailable):
    """The bot has no Trunk."""


class BotUnimplemented(BotUnavailable):
    """The bot has neither RPC, or not the one that the route wants."""
