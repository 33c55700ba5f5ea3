"""Placement over one stream to the registry: reserve, confirm and release, batched per loop turn."""

from collections.abc import Callable, Sequence

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import PlacementServiceStub
from sipgw.control.errors import NoPlacement, RegistryUnreachable
from sipgw.control.pending import PendingCommands
from sipgw.control.reconnect import keep_connected, pump
from sipgw.control.replicas import Replicas
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.tls import TlsDirectory

_PATIENCE_S = 0.3
"""A registry answers in a few milliseconds; one on a node that was cut off never does."""


class PlacementStream:
    """A stream to the registry, opened at the first command.

    After every break it opens again, to the next replica, until `aclose`.
    """

    def __init__(self, target: str, *, tls: TlsDirectory | None = None, deadline_s: float = 1.0) -> None:
        self._replicas = Replicas(target, tls=tls)
        self._target = target
        self._pending: PendingCommands[pb.PlacementCommand, pb.PlacementResult] = PendingCommands(
            f"registry {target}", RegistryUnreachable, deadline_s, patience_s=_PATIENCE_S
        )
        self._tasks = TaskGroupOwner("placements")

    async def reserve(self, call_id: str, cost_units: int, avoid: Sequence[str] = ()) -> pb.Placement:
        """Return a relay with room, held for the call, and none of the incarnations in `avoid`.

        Raises NoPlacement.
        """
        command = pb.PlacementCommand(
            call_id=call_id,
            action=pb.PLACEMENT_ACTION_RESERVE,
            cost_units=cost_units,
            avoid_relays=avoid,
        )
        return (await self._ask(command)).placement

    async def confirm(self, call_id: str, relay_incarnation: str) -> None:
        """Confirm that the relay has the session. Raises NoPlacement when the reservation is gone."""
        await self._ask(
            pb.PlacementCommand(
                call_id=call_id, action=pb.PLACEMENT_ACTION_CONFIRM, relay_incarnation=relay_incarnation
            )
        )

    async def release(self, call_id: str, relay_incarnation: str) -> None:
        """Free the room; without a reservation this does nothing."""
        command = pb.PlacementCommand(
            call_id=call_id, action=pb.PLACEMENT_ACTION_RELEASE, relay_incarnation=relay_incarnation
        )
        await self._submit(command)

    async def aclose(self) -> None:
        """Close the stream; waiting commands get RegistryUnreachable."""
        await self._tasks.aclose()
        self._pending.fail_all("client closed")

    async def _ask(self, command: pb.PlacementCommand) -> pb.PlacementResult:
        result = await self._submit(command)
        if not result.placed:
            raise NoPlacement(result.reason, result.retry_after_s)
        return result

    async def _submit(self, command: pb.PlacementCommand) -> pb.PlacementResult:
        if not len(self._tasks):
            stream = keep_connected(f"placement {self._target}", self._session, self._went_down)
            self._tasks.spawn(stream, "stream")
        return await self._pending.submit(command)

    async def _session(self, established: Callable[[], None]) -> None:
        self._pending.begin_attempt()
        self._pending.restart()

        def receive(response: pb.PlaceResponse) -> None:
            established()
            self._pending.heard()
            for result in response.results:
                self._pending.resolve(result)

        async with self._replicas.connection() as channel:
            await pump(PlacementServiceStub(channel).Place(), receive, self._next_request)

    def _went_down(self, was_established: bool) -> None:  # noqa: FBT001 - keep_connected's callback
        if not was_established:
            self._pending.fail_attempt("not there")

    async def _next_request(self) -> pb.PlaceRequest:
        while True:
            await self._pending.wait()
            if commands := self._pending.take_batch():
                return pb.PlaceRequest(commands=commands)
