"""Errors of the SDK.

BotError
├── CallEnded       the caller or the gateway ended the call; a handler need not catch it
└── ListenFailed    the server's address is not available
"""


class BotError(Exception):
    """Root of the SDK's errors."""


class CallEnded(BotError):
    """The bot used a call that is over. Ends the handler quietly when not caught."""


class ListenFailed(BotError):
    """The address can't be bound: it is taken, or not of this machine."""
