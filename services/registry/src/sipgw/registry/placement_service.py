"""PlacementService: reserve, confirm and release in batches; each reply answers one batch, in order."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import PlacementServiceServicer
from sipgw.registry import metrics
from sipgw.registry.placement import NotPlaced, Placed, Placements
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.tls import require_role
from sipgw.store import StoreUnavailable

if TYPE_CHECKING:
    import grpc.aio

PLACEMENT_SERVICE = "sipgw.api.registry.v1.PlacementService"
_AWAY_RETRY_AFTER_S: Final = 2
_BATCHES_AT_ONCE: Final = 32
"""How many batches of a stream may wait; then reading stops until the first is answered."""


class PlacementService(PlacementServiceServicer):
    """Sends a batch's commands to Redis in one write, in their order."""

    def __init__(self, placements: Placements) -> None:
        self._placements = placements

    async def Place(
        self,
        request_iterator: AsyncIterator[pb.PlaceRequest],
        context: "grpc.aio.ServicerContext[pb.PlaceRequest, pb.PlaceResponse]",
    ) -> AsyncIterator[pb.PlaceResponse]:
        """Answer batches, which overlap: one that comes while another waits for Redis is sent at once."""
        await require_role(context, "edge")
        tasks = TaskGroupOwner("place")
        placing: asyncio.Queue[asyncio.Task[pb.PlaceResponse] | None] = asyncio.Queue(_BATCHES_AT_ONCE)

        async def read() -> None:
            try:
                async for request in request_iterator:
                    await placing.put(tasks.spawn(self._place(request), "batch"))
            finally:
                await placing.put(None)

        tasks.spawn(read(), "read")
        try:
            while (batch := await placing.get()) is not None:
                yield await batch
        finally:
            await tasks.aclose()

    async def _place(self, request: pb.PlaceRequest) -> pb.PlaceResponse:
        with metrics.PLACE_SECONDS.time():
            return pb.PlaceResponse(results=await asyncio.gather(*map(self._execute, request.commands)))

    async def _execute(self, command: pb.PlacementCommand) -> pb.PlacementResult:
        try:
            result = await self._by_action(command)
        except StoreUnavailable:
            result = pb.PlacementResult(reason="Redis is away", retry_after_s=_AWAY_RETRY_AFTER_S)
        result.command_id = command.command_id
        action = pb.PlacementAction.Name(command.action).removeprefix("PLACEMENT_ACTION_").lower()
        metrics.PLACEMENTS.labels(action, "done" if result.placed else result.reason).inc()
        return result

    async def _by_action(self, command: pb.PlacementCommand) -> pb.PlacementResult:
        match command.action:
            case pb.PLACEMENT_ACTION_RESERVE:
                return _answer(
                    await self._placements.reserve(command.call_id, command.cost_units, command.avoid_relays)
                )
            case pb.PLACEMENT_ACTION_CONFIRM:
                is_held = await self._placements.confirm(
                    command.call_id, command.relay_incarnation, command.cost_units
                )
                return pb.PlacementResult(placed=is_held, reason="" if is_held else "the relay is gone")
            case pb.PLACEMENT_ACTION_RELEASE:
                await self._placements.release(command.call_id, command.relay_incarnation)
                return pb.PlacementResult(placed=True)
            case _:
                return pb.PlacementResult(reason="unknown action")


def _answer(outcome: Placed | NotPlaced) -> pb.PlacementResult:
    match outcome:
        case Placed(registration):
            placement = pb.Placement(
                relay=registration.relay,
                control_address=registration.control_address,
                advertised_address=registration.advertised_address,
            )
            return pb.PlacementResult(placed=True, placement=placement)
        case NotPlaced(reason, retry_after_s):
            return pb.PlacementResult(reason=reason, retry_after_s=retry_after_s)
