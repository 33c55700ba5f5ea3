"""Errors of this package. They tell a peer's refusal from its silence.

ControlError
├── Unreachable           no answer in time, or nobody listens; the request may have taken effect
│   ├── RelayUnreachable
│   ├── EdgeUnreachable
│   └── RegistryUnreachable
├── RelayRefused          the relay answered with an error; `status` says which kind
├── RegistryRefused       the registry answered with an error; `code` says which kind
│   └── ConfigConflict    the config changed since it was read
└── NoPlacement           no relay has room; the caller is told to retry later
"""

import grpc

from sipgw.api.relay.v1.control_pb2 import CommandStatus


class ControlError(Exception):
    """Root of this package's errors."""


class Unreachable(ControlError):
    """No answer in time, or nobody listens. The request may have taken effect: commands are idempotent."""


class RelayUnreachable(Unreachable):
    """The relay gave no answer."""


class EdgeUnreachable(Unreachable):
    """The edge gave no answer."""


class RegistryUnreachable(Unreachable):
    """The registry gave no answer."""


class RelayRefused(ControlError):
    """The relay answered a command with a status other than OK."""

    def __init__(self, status: CommandStatus.ValueType, message: str) -> None:
        super().__init__(f"{CommandStatus.Name(status).removeprefix('COMMAND_STATUS_')}: {message}")
        self.status = status
        self.message = message


class RegistryRefused(ControlError):
    """The registry answered with an error that a retry won't cure."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code


class ConfigConflict(RegistryRefused):
    """The config in force is not the expected one: read it again."""


class NoPlacement(ControlError):
    """No relay takes the call now; a SIP peer gets 503 with `retry_after_s`."""

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
