"""Unary calls: each has a deadline and raises only errors of this package."""

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
        grpc.StatusCode.CANCELLED,  # sent by a server that ends
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


async def ask_registry(call: Awaitable[T]) -> T:
    """Return the answer of `call`; raises RegistryUnreachable or RegistryRefused."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        message = f"registry: {error.details()}"
        if error.code() in UNREACHABLE_CODES:
            raise RegistryUnreachable(f"{message} ({error.code().name})") from None
        raise RegistryRefused(error.code(), message) from None
