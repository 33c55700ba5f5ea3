"""EdgeClient against a small edge on a real gRPC server."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from sipgw.api.edge.v1 import edge_pb2 as pb
from sipgw.api.edge.v1 import edge_pb2_grpc
from sipgw.control import EdgeClient, EdgeUnreachable


class Edge(edge_pb2_grpc.EdgeServiceServicer):
    def __init__(self) -> None:
        self.is_frozen = False

    async def Deliver(self, request, context):
        if self.is_frozen:
            await asyncio.Event().wait()
        return pb.DeliverResponse(outcome=pb.DELIVER_OUTCOME_HANDLED, responses=[request.message.upper()])

    async def Hangup(self, request, context):
        return pb.HangupResponse(found=request.call_id == "mine")


@pytest.fixture
async def edge() -> Edge:
    return Edge()


@pytest.fixture
async def server(edge, serve):
    return await serve(edge, edge_pb2_grpc.add_EdgeServiceServicer_to_server, "sipgw.api.edge.v1.EdgeService")


@pytest.fixture
async def client(server) -> AsyncIterator[EdgeClient]:
    client = EdgeClient(server.address)
    yield client
    await client.aclose()


async def test_a_message_is_delivered_and_its_answers_come_back(client) -> None:
    answer = await client.deliver(pb.DeliverRequest(call_id="a", message=b"cancel"))
    assert answer.outcome == pb.DELIVER_OUTCOME_HANDLED
    assert list(answer.responses) == [b"CANCEL"]


async def test_a_frozen_edge_is_unreachable_after_300_ms(client, edge) -> None:
    await client.hangup("mine", "warm")
    edge.is_frozen = True
    start = time.monotonic()
    with pytest.raises(EdgeUnreachable, match="DEADLINE_EXCEEDED"):
        await client.deliver(pb.DeliverRequest(call_id="a"))
    assert 0.25 < time.monotonic() - start < 3


async def test_a_dead_edge_is_unreachable(client, server) -> None:
    await server.stop()
    with pytest.raises(EdgeUnreachable, match=server.address):
        await client.deliver(pb.DeliverRequest(call_id="a"))
    with pytest.raises(EdgeUnreachable):
        await client.hangup("mine", "")


async def test_hangup_says_whether_the_call_was_there(client) -> None:
    assert await client.hangup("mine", "operator")
    assert not await client.hangup("other", "operator")
