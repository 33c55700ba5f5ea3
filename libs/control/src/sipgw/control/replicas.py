"""The replicas of a registry, tried one after another."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc.aio

from sipgw.runtime.grpc_channel import REGISTRY_KEEPALIVE_S, open_channel
from sipgw.runtime.tls import TlsDirectory


class Replicas:
    """Connections to "host:port,host:port": each `connection` is a new one, to the next address.

    A stream that broke or stalled is opened again on another connection: a stopped process keeps its
    connections, and behind the one address of a Service another replica may answer.
    """

    def __init__(self, target: str, *, tls: TlsDirectory | None) -> None:
        self._addresses = [address.strip() for address in target.split(",")]
        self._tls = tls
        self._next = 0

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[grpc.aio.Channel]:
        """Yield a channel that is closed at the end of the block."""
        address = self._addresses[self._next]
        self._next = (self._next + 1) % len(self._addresses)
        async with open_channel(
            address, role="registry", tls=self._tls, keepalive_s=REGISTRY_KEEPALIVE_S
        ) as channel:
            yield channel
