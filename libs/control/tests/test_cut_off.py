"""Two registries, of which one is cut off: its connections stay open, but nothing arrives over them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import (
    PlacementServiceServicer,
    RelayRegistrationServiceServicer,
    add_PlacementServiceServicer_to_server,
    add_RelayRegistrationServiceServicer_to_server,
)
from sipgw.control import RegistryClient, RegistryUnreachable

WITHIN_S = 4.0
"""New calls come again within 5 s of a node's end."""


class Places(PlacementServiceServicer):
    """A registry that places every call on a relay of its own name."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def Place(self, request_iterator: AsyncIterator[pb.PlaceRequest], context: Any) -> Any:
        async for request in request_iterator:
            results = [
                pb.PlacementResult(
                    command_id=command.command_id,
                    placed=True,
                    placement=pb.Placement(control_address=self.name),
                )
                for command in request.commands
            ]
            yield pb.PlaceResponse(results=results)


class Lists(RelayRegistrationServiceServicer):
    """A registry that lists one relay, of its own name."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def ListRelays(self, request: pb.ListRelaysRequest, context: Any) -> pb.ListRelaysResponse:
        registration = pb.RelayRegistration(control_address=self.name)
        return pb.ListRelaysResponse(relays=[pb.Relay(registration=registration)])


class Link:
    """A TCP link to a server. Once cut, it reads no more bytes and accepts new connections in silence."""

    def __init__(self) -> None:
        self.address = ""
        self._is_whole = asyncio.Event()
        self._is_whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def open(self, target: str) -> None:
        host, _, port = target.rpartition(":")

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            await self._is_whole.wait()
            there, back = await asyncio.open_connection(host, int(port))
            self._writers.append(back)
            for source, sink in ((reader, back), (there, writer)):
                task = asyncio.ensure_future(self._copy(source, sink))
                self._tasks.add(task)

        self._server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        self._is_whole.clear()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        if self._server is not None:
            self._server.close()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(1 << 16):
                await self._is_whole.wait()
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest.fixture
async def links() -> AsyncIterator[list[Link]]:
    made = [Link(), Link()]
    yield made
    await asyncio.gather(*(link.aclose() for link in made))


async def test_a_registry_that_is_cut_off_is_left_for_the_next_within_seconds(
    serve: Callable[..., Any], links: list[Link]
) -> None:
    for name, link in zip("ab", links, strict=True):
        server = await serve(Places(name), add_PlacementServiceServicer_to_server, "sipgw.test")
        await link.open(server.address)
    client = RegistryClient(f"{links[0].address},{links[1].address}")
    first = (await client.place("call-0", 1)).control_address
    links["ab".index(first)].cut()
    began = time.monotonic()
    placed = ""
    while not placed and time.monotonic() - began < 20:
        with contextlib.suppress(RegistryUnreachable):
            placed = (await client.place("call-1", 1)).control_address
    await client.aclose()
    assert placed not in {"", first}
    assert time.monotonic() - began < WITHIN_S


async def test_so_is_the_connection_of_single_questions(serve: Callable[..., Any], links: list[Link]) -> None:
    """gRPC's own ping waits on the connection, and by default may wait for a minute."""
    for name, link in zip("ab", links, strict=True):
        server = await serve(Lists(name), add_RelayRegistrationServiceServicer_to_server, "sipgw.test")
        await link.open(server.address)
    client = RegistryClient(f"{links[0].address},{links[1].address}")

    async def ask() -> str:
        (relay,) = await client.list_relays()
        return relay.registration.control_address

    first = await ask()
    links["ab".index(first)].cut()
    began = time.monotonic()
    answer = ""
    while not answer and time.monotonic() - began < 20:
        with contextlib.suppress(RegistryUnreachable):
            answer = await ask()
    await client.aclose()
    assert answer not in {"", first}
    assert time.monotonic() - began < WITHIN_S
