"""What the SDK raises.

BotError
├── CallEnded       the caller or the gateway ended the call; a handler need not catch it
└── ListenFailed    the server's address can't be had
"""


class BotError(Exception):
    """Root of everything the SDK raises of its own."""


class CallEnded(BotError):  # noqa: N818 - an outcome more than an error
    """Said or sent something on a call that is over. Ends the handler quietly when not caught."""


class ListenFailed(BotError):  # noqa: N818 - an outcome more than an error
    """The address can't be bound: taken, or not ours."""
