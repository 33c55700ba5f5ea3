"""Errors of this package: what a peer answered apart from that it did not.

ControlError
├── Unreachable           no answer in time, or nobody there; what was asked may have happened
│   ├── RelayUnreachable
│   ├── EdgeUnreachable
│   └── RegistryUnreachable
├── RelayRefused          the relay answered: not this; `status` says which kind
├── RegistryRefused       the registry answered: not this; `code` says which kind
│   └── ConfigConflict    the config changed since it was read
└── NoPlacement           no relay has room; the caller is told to come again
"""

import grpc

from sipgw.api.relay.v1.control_pb2 import CommandStatus


class ControlError(Exception):
    """Root of this package's errors."""


class Unreachable(ControlError):  # noqa: N818 - outcomes, named as callers read them
    """No answer in time, or nobody there. What was asked may have happened: commands are idempotent."""


class RelayUnreachable(Unreachable):
    """The relay gave no answer."""


class EdgeUnreachable(Unreachable):
    """The edge gave no answer."""


class RegistryUnreachable(Unreachable):
    """The registry gave no answer."""


class RelayRefused(ControlError):  # noqa: N818
    """The relay answered a command with a status other than OK."""

    def __init__(self, status: CommandStatus.ValueType, message: str) -> None:
        super().__init__(f"{CommandStatus.Name(status).removeprefix('COMMAND_STATUS_')}: {message}")
        self.status = status
        self.message = message


class RegistryRefused(ControlError):  # noqa: N818
    """The registry answered with an error that another try won't cure."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code


class ConfigConflict(RegistryRefused):
    """The config in force is not the one expected: read it again."""


class NoPlacement(ControlError):  # noqa: N818
    """No relay takes the call now; a SIP peer is told 503 with `retry_after_s`."""

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
