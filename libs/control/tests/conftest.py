"""Real grpc.aio servers on a port of their own, restartable under the same address."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from sipgw.runtime.grpc_server import GrpcServer
from sipgw.runtime.patience import patient


class Restartable:
    """A server that keeps its address over `stop` and `start`."""

    def __init__(self, servicer: Any, add: Callable[[Any, Any], None], name: str) -> None:
        self._what = (servicer, add, name)
        self._server: GrpcServer | None = None
        self.address = "127.0.0.1:0"

    async def start(self) -> None:
        self._server = GrpcServer(self.address)
        self._server.add(*self._what)
        self.address = f"127.0.0.1:{await self._server.start()}"

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Restartable]]]:
    """`await serve(servicer, add_fn, name)` gives a started server that the test's end stops."""
    servers: list[Restartable] = []

    async def start(servicer: Any, add: Callable[[Any, Any], None], name: str) -> Restartable:
        server = Restartable(servicer, add, name)
        await server.start()
        servers.append(server)
        return server

    yield start
    await asyncio.gather(*(server.stop() for server in servers))


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """`await until(lambda: condition)`: true within five seconds, on a quiet machine."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(patient(5)):
            while not condition():  # noqa: ASYNC110 - what is waited for is in the peer
                await asyncio.sleep(0.005)

    return wait
