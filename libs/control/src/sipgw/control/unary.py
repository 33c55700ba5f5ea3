"""Unary calls: every one with a deadline, every failure one of this package's errors."""

from collections.abc import Awaitable
from typing import TypeVar

import grpc
import grpc.aio

from sipgw.control.errors import RegistryRefused, RegistryUnreachable

T = TypeVar("T")
UNREACHABLE_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,  # by the server, at its end
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


async def ask_registry(call: Awaitable[T]) -> T:
    """The answer of `call`; raises RegistryUnreachable or RegistryRefused."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        message = f"registry: {error.details()}"
        if error.code() in UNREACHABLE_CODES:
            raise RegistryUnreachable(f"{message} ({error.code().name})") from None
        raise RegistryRefused(error.code(), message) from None
