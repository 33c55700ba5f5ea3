"""Why a bot could not be had. Each says what follows: try again elsewhere, try the other RPC, or give up.

BotUnavailable            try again, elsewhere if possible
├── TrunkUnimplemented    the bot has no Trunk: StreamCall
└── BotUnimplemented      it has none that the route allows: give up
"""


class BotUnavailable(Exception):  # noqa: N818 - the outcome, as gRPC names it
    """This attempt did not reach a bot; `str()` is the reason for logs and for the edge."""


class TrunkUnimplemented(BotUnavailable):
    """UNIMPLEMENTED on Trunk."""


class BotUnimplemented(BotUnavailable):
    """UNIMPLEMENTED on StreamCall as well, or on Trunk where the route wants that: no bot at all."""
