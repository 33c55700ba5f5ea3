"""Several registries behind one client: if one is gone or silent, the client asks the next."""

import asyncio

import grpc
import pytest

from sipgw.api.calls.v1.session_pb2 import ProcessIdentity
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1 import registry_pb2_grpc as services
from sipgw.control import RegistryClient, RegistryUnreachable
from sipgw.runtime.errors import StartupError
from sipgw.runtime.patience import patient


class Registry(services.PlacementServiceServicer, services.RelayRegistrationServiceServicer):
    """A registry that places every call on a relay of its own name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers = True

    def add_to(self, _, server: grpc.aio.Server) -> None:
        services.add_PlacementServiceServicer_to_server(self, server)
        services.add_RelayRegistrationServiceServicer_to_server(self, server)

    async def Place(self, request_iterator, context):
        async for request in request_iterator:
            if self.answers:
                relay = ProcessIdentity(name=self.name, incarnation="i")
                results = [
                    pb.PlacementResult(
                        command_id=command.command_id, placed=True, placement=pb.Placement(relay=relay)
                    )
                    for command in request.commands
                ]
                yield pb.PlaceResponse(results=results)

    async def ListRelays(self, request, context):
        return pb.ListRelaysResponse(relays=[pb.Relay(calls=3)])


@pytest.fixture
async def two(serve):
    """Two registries with their servers."""
    made = []
    for name in ("a", "b"):
        registry = Registry(name)
        made.append(
            (registry, await serve(registry, registry.add_to, "sipgw.api.registry.v1.PlacementService"))
        )
    return made


@pytest.fixture
async def client(two):
    client = RegistryClient(",".join(server.address for _, server in two), deadline_s=0.5)
    yield client
    await client.aclose()


async def place(client: RegistryClient, call_id: str) -> str:
    """Ask until a registry places the call; return its name."""
    async with asyncio.timeout(patient(5)):
        while True:
            try:
                return (await client.place(call_id, 1)).relay.name
            except RegistryUnreachable:
                continue


async def test_the_first_is_asked_while_it_answers(client) -> None:
    assert {await place(client, str(number)) for number in range(5)} == {"a"}
    assert [relay.calls for relay in await client.list_relays()] == [3]


async def test_the_next_is_asked_when_one_is_gone(client, two) -> None:
    await place(client, "1")
    await two[0][1].stop()
    assert await place(client, "2") == "b"
    assert [relay.calls for relay in await client.list_relays()] == [3]


async def test_the_next_is_asked_when_one_says_nothing(client, two) -> None:
    """The connections of the silent registry stay open."""
    await place(client, "1")
    two[0][0].answers = False
    assert await place(client, "2") == "b"


@pytest.mark.parametrize(
    "target", ["registry:7070,10.0.0.2:7070", "10.0.0.1:7070,[::1]:7070", "10.0.0.1,x:1"]
)
async def test_a_list_that_grpc_would_not_understand_says_what_is_wrong(target: str) -> None:
    with pytest.raises(StartupError, match="address"):
        RegistryClient(target)
