"""GrpcServer and open_channel against each other."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sipgw.api.edge.v1 import edge_pb2, edge_pb2_grpc
from sipgw.runtime.errors import StartupError
from sipgw.runtime.grpc_channel import open_channel
from sipgw.runtime.grpc_server import GrpcServer
from sipgw.runtime.patience import patient

NAME = "sipgw.api.edge.v1.EdgeService"


class Edge(edge_pb2_grpc.EdgeServiceServicer):
    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.hold = asyncio.Event()
        self.peers: list[str] = []

    async def Deliver(self, request, context):
        self.arrived.set()
        await self.hold.wait()
        return edge_pb2.DeliverResponse()

    async def Hangup(self, request, context):
        self.peers.append(context.peer())
        return edge_pb2.HangupResponse(found=request.call_id == "mine")


def new_server(edge: Edge, listen: str = "127.0.0.1:0", **options: float) -> GrpcServer:
    server = GrpcServer(listen, **options)
    server.add(edge, edge_pb2_grpc.add_EdgeServiceServicer_to_server, NAME)
    return server


@pytest.fixture
async def served() -> AsyncIterator[tuple[Edge, GrpcServer, grpc.aio.Channel, int]]:
    edge = Edge()
    server = new_server(edge)
    port = await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield edge, server, channel, port
    await server.stop(0)


async def test_a_service_is_served(served) -> None:
    _, _, channel, _ = served
    stub = edge_pb2_grpc.EdgeServiceStub(channel)
    assert (await stub.Hangup(edge_pb2.HangupRequest(call_id="mine"), timeout=5)).found
    assert not (await stub.Hangup(edge_pb2.HangupRequest(call_id="other"), timeout=5)).found


async def test_health_knows_the_server_and_each_service(served) -> None:
    _, server, channel, _ = served
    health = health_pb2_grpc.HealthStub(channel)

    async def status(name: str) -> int:
        return (await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)).status

    assert await status("") == await status(NAME) == health_pb2.HealthCheckResponse.SERVING
    await server.set_serving(False)
    assert await status("") == await status(NAME) == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await status("no.such.Service")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services(served) -> None:
    _, _, channel, _ = served
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    call.cancel()
    assert NAME in {service.name for service in answer.list_services_response.service}


async def test_a_taken_port_is_a_startup_error_even_between_grpc_servers(served) -> None:
    _, _, _, port = served
    with pytest.raises(StartupError, match=f"127.0.0.1:{port}"):
        await new_server(Edge(), f"127.0.0.1:{port}").start()


async def test_stop_gives_a_call_under_way_its_grace(served) -> None:
    edge, server, channel, _ = served
    call = edge_pb2_grpc.EdgeServiceStub(channel).Deliver(edge_pb2.DeliverRequest(), timeout=10)
    answer = asyncio.ensure_future(call)
    await asyncio.wait_for(edge.arrived.wait(), patient(5))
    stopping = asyncio.create_task(server.stop(5))
    await asyncio.sleep(0)
    edge.hold.set()
    assert await answer == edge_pb2.DeliverResponse()
    await asyncio.wait_for(stopping, patient(3))


async def test_the_channel_finds_a_server_that_returns(served) -> None:
    _, server, channel, port = served
    stub = edge_pb2_grpc.EdgeServiceStub(channel)
    await stub.Hangup(edge_pb2.HangupRequest(), timeout=5)
    await server.stop(0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Hangup(edge_pb2.HangupRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    again = new_server(Edge(), f"127.0.0.1:{port}")
    await again.start()
    await asyncio.wait_for(stub.Hangup(edge_pb2.HangupRequest(), wait_for_ready=True), 5)
    await again.stop(0)


async def test_max_connection_age_moves_clients_to_a_new_connection() -> None:
    edge = Edge()
    server = new_server(edge, max_connection_age_s=0.1)
    port = await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub = edge_pb2_grpc.EdgeServiceStub(channel)
        async with asyncio.timeout(patient(5)):
            while len(set(edge.peers)) < 2:
                await stub.Hangup(edge_pb2.HangupRequest(), wait_for_ready=True)
                await asyncio.sleep(0.02)
    await server.stop(0)
