"""Errors of the registry, each with its gRPC status.

RegistryError
├── NotMaterialised     UNAVAILABLE: the calls have not been read from Redis yet
├── WatchExpired        OUT_OF_RANGE: changes were trimmed, overflowed or belong to lost data; list again
├── BadResourceVersion  INVALID_ARGUMENT: not a resource version of ours
└── ConfigVersionConflict  FAILED_PRECONDITION: the config in force is another than the caller expects
"""

from typing import ClassVar

import grpc


class RegistryError(Exception):
    """Root of the package's errors."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN


class NotMaterialised(RegistryError):
    """The calls have not been read from Redis yet."""

    code = grpc.StatusCode.UNAVAILABLE


class WatchExpired(RegistryError):
    """Changes after the given version are not available any more."""

    code = grpc.StatusCode.OUT_OF_RANGE


class BadResourceVersion(RegistryError):
    """The text is none of our resource versions."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class ConfigVersionConflict(RegistryError):
    """The config in force is not the one that the caller expects."""

    code = grpc.StatusCode.FAILED_PRECONDITION

    def __init__(self, expected: int, present: int) -> None:
        super().__init__(f"version {expected} was expected, version {present} is in force")
