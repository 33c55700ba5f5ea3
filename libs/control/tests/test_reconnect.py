"""A long-lived stream that ends is opened again: silently if its connection grew old, else with a warning."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import grpc.aio
import pytest
from structlog.testing import capture_logs

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import (
    PlacementServiceServicer,
    add_PlacementServiceServicer_to_server,
)
from sipgw.control import RegistryClient
from sipgw.control.reconnect import StreamStalled, keep_connected
from sipgw.runtime.patience import patient


def status(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    none = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, none, none, details)


AGED = status(grpc.StatusCode.UNAVAILABLE, "max connection age")
RESET = status(grpc.StatusCode.UNAVAILABLE, "Connection reset by peer")


async def logged(*ends: BaseException) -> list[tuple[str, str]]:
    """Return the log lines of a stream that ends with each of `ends` in turn; then nobody accepts it."""
    waiting = list(ends)
    over = asyncio.Event()

    async def session(established: Callable[[], None]) -> None:
        if not waiting:
            over.set()
            raise status(grpc.StatusCode.UNAVAILABLE, "Connection refused")
        established()
        raise waiting.pop(0)

    with capture_logs() as lines:
        keeping = asyncio.ensure_future(keep_connected("s", session, lambda _: None))
        await over.wait()
        await asyncio.sleep(0)
        keeping.cancel()
    return [(line["log_level"], line["event"]) for line in lines if line["event"] != "stream_attached"]


@pytest.mark.parametrize(
    "end",
    [
        AGED,
        asyncio.InvalidStateError("RPC already finished."),
        status(grpc.StatusCode.INTERNAL, "Internal error from Core"),
    ],
    ids=["aged", "finished", "wrote too late"],
)
async def test_a_stream_that_grew_old_is_renewed_without_a_warning(end: Exception) -> None:
    """The refused connection after the last renewal is a warning."""
    renewed, gone = ("info", "stream_renewed"), ("warning", "stream_broken")
    assert await logged(end, end, end) == [renewed, renewed, renewed, gone]


@pytest.mark.parametrize("end", [RESET, StreamStalled("no answer")], ids=["reset", "stalled"])
async def test_a_stream_that_broke_is_a_warning_once(end: Exception) -> None:
    assert await logged(end) == [("warning", "stream_broken")]


class Registry(PlacementServiceServicer):
    """A registry that says it placed each call, but names no relay."""

    async def Place(
        self,
        request_iterator: AsyncIterator[pb.PlaceRequest],
        context: "grpc.aio.ServicerContext[pb.PlaceRequest, pb.PlaceResponse]",
    ) -> AsyncIterator[pb.PlaceResponse]:
        async for request in request_iterator:
            ids = [command.command_id for command in request.commands]
            yield pb.PlaceResponse(results=[pb.PlacementResult(command_id=one, placed=True) for one in ids])


async def _again_and_again(act: Callable[[], Awaitable[None]], until: Callable[[], bool]) -> None:
    while not until():
        await act()


async def test_commands_outlive_connections_that_grow_old_and_nothing_is_warned_of() -> None:
    ages = [("grpc.max_connection_age_ms", 50), ("grpc.max_connection_age_grace_ms", 20)]
    server = grpc.aio.server(options=ages)
    add_PlacementServiceServicer_to_server(Registry(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    client = RegistryClient(address, deadline_s=5.0)
    with capture_logs() as lines:
        async with asyncio.timeout(patient(30)):
            await _again_and_again(
                lambda: client.release_placement("call", "relay"),
                lambda: [line["event"] for line in lines].count("stream_renewed") >= 8,
            )
    assert {line["event"] for line in lines if line["log_level"] == "warning"} == set()
    await client.aclose()
    await server.stop(0)
