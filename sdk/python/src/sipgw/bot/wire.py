"""Shared parts of the two RPC adapters: the typed interface of grpc.aio's context, and acks."""

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, cast

import grpc
import grpc.aio

ACK_AFTER_S = 0.05  # half of the limit of `Ack` in voicebot.proto


END: object = cast("Any", grpc.aio).EOF  # returned by `read` when the gateway has closed its side


class ServerContext(Protocol):
    """The part of grpc.aio.ServicerContext that we use; grpcio ships no types."""

    def read(self) -> Awaitable[Any]:
        """Read the next message, or END."""
        ...

    def write(self, message: Any) -> Awaitable[None]:
        """Write a message."""
        ...

    def send_initial_metadata(self, metadata: Sequence[tuple[str, str]]) -> Awaitable[None]:
        """Send the initial metadata."""
        ...

    def abort(self, code: grpc.StatusCode, details: str) -> Awaitable[None]:
        """End the RPC with an error."""
        ...

    def invocation_metadata(self) -> Sequence[tuple[str, str]] | None:
        """Return the client's metadata."""
        ...


class Acknowledger:
    """Counts received items and says when an ack is due. Acks themselves count but need no ack."""

    def __init__(self) -> None:
        self.items = 0
        self._owed_since: float | None = None

    def received(self, *, items: int, acks: int, now: float) -> None:
        """Count received items."""
        self.items += items
        if items > acks and self._owed_since is None:
            self._owed_since = now

    def due_at(self) -> float | None:
        """When the next ack must be sent; None when none is owed."""
        return None if self._owed_since is None else self._owed_since + ACK_AFTER_S

    def sent(self) -> None:
        """Note that an ack was sent."""
        self._owed_since = None
