"""A stand-in for the registry: placement in the order of its relays, a config, the list of relays."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc.aio

from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import (
    CallRegistryServiceServicer,
    ConfigServiceServicer,
    PlacementServiceServicer,
    RelayRegistrationServiceServicer,
    add_CallRegistryServiceServicer_to_server,
    add_ConfigServiceServicer_to_server,
    add_PlacementServiceServicer_to_server,
    add_RelayRegistrationServiceServicer_to_server,
)
from sipgw.runtime.grpc_server import server_options


class FakeRegistry(
    PlacementServiceServicer,
    RelayRegistrationServiceServicer,
    ConfigServiceServicer,
    CallRegistryServiceServicer,
):
    """A registry with `relays` in order of preference; `unhealthy` has the incarnations whose lease has
    lapsed.
    """

    def __init__(self, gateway: config.GatewayConfig, relays: list[FakeRelay]) -> None:
        self.gateway = gateway
        self.relays = relays
        self.unhealthy: set[str] = set()
        self.placed: dict[str, str] = {}
        self.elsewhere = pb.CountCallsResponse()
        """The response to CountCalls: the calls of other edges."""
        self.counted = 0
        self.on_place: Callable[[pb.PlacementCommand], Awaitable[None]] = _nobody
        """Awaited before a placement command is served, so that a test can change things first."""
        self._places = asyncio.Event()
        self._places.set()
        self._server: grpc.aio.Server | None = None
        self.address = ""

    async def start(self, port: int = 0) -> None:
        """Serve on a free port, or on the port it had before."""
        self._server = grpc.aio.server(options=server_options())
        add_PlacementServiceServicer_to_server(self, self._server)
        add_RelayRegistrationServiceServicer_to_server(self, self._server)
        add_ConfigServiceServicer_to_server(self, self._server)
        add_CallRegistryServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"
        await self._server.start()

    async def stop(self) -> None:
        """Stop at once."""
        if self._server is not None:
            await self._server.stop(0)

    @asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """Place nothing until the block ends."""
        self._places.clear()
        try:
            yield
        finally:
            self._places.set()

    async def Place(
        self,
        request_iterator: AsyncIterator[pb.PlaceRequest],
        context: "grpc.aio.ServicerContext[pb.PlaceRequest, pb.PlaceResponse]",
    ) -> AsyncIterator[pb.PlaceResponse]:
        async for request in request_iterator:
            await self._places.wait()
            for command in request.commands:
                await self.on_place(command)
            yield pb.PlaceResponse(results=[self._place(command) for command in request.commands])

    async def ListRelays(
        self,
        request: pb.ListRelaysRequest,
        context: "grpc.aio.ServicerContext[pb.ListRelaysRequest, pb.ListRelaysResponse]",
    ) -> pb.ListRelaysResponse:
        return pb.ListRelaysResponse(
            relays=[
                pb.Relay(
                    registration=pb.RelayRegistration(
                        relay=_identity(relay),
                        control_address=relay.control_address,
                        advertised_address=relay.address,
                        node=relay.node,
                        rtp_first_port=20000,
                        rtp_last_port=22399,
                    ),
                    healthy=relay.incarnation not in self.unhealthy,
                )
                for relay in self.relays
            ]
        )

    async def CountCalls(
        self,
        request: pb.CountCallsRequest,
        context: "grpc.aio.ServicerContext[pb.CountCallsRequest, pb.CountCallsResponse]",
    ) -> pb.CountCallsResponse:
        self.counted += 1
        return self.elsewhere

    async def WatchConfig(
        self,
        request: pb.WatchConfigRequest,
        context: "grpc.aio.ServicerContext[pb.WatchConfigRequest, pb.WatchConfigResponse]",
    ) -> AsyncIterator[pb.WatchConfigResponse]:
        yield pb.WatchConfigResponse(config=self.gateway)
        await asyncio.Event().wait()

    def _place(self, command: pb.PlacementCommand) -> pb.PlacementResult:
        result = pb.PlacementResult(command_id=command.command_id, placed=True)
        is_release = command.action == pb.PLACEMENT_ACTION_RELEASE
        if is_release and self.placed.get(command.call_id) == command.relay_incarnation:
            del self.placed[command.call_id]
        if command.action != pb.PLACEMENT_ACTION_RESERVE:
            return result
        banned = self.unhealthy | set(command.avoid_relays)
        relay = next((one for one in self.relays if one.incarnation not in banned), None)
        if relay is None:
            result.placed, result.reason, result.retry_after_s = False, "no room", 7
            return result
        self.placed[command.call_id] = relay.incarnation
        result.placement.relay.CopyFrom(_identity(relay))
        result.placement.control_address = relay.control_address
        result.placement.advertised_address = relay.address
        return result


def _identity(relay: FakeRelay) -> calls.ProcessIdentity:
    return calls.ProcessIdentity(name=relay.name, incarnation=relay.incarnation)


async def _nobody(_command: pb.PlacementCommand) -> None:
    """Do nothing, until a test sets a callback."""
