"""Room for a call on some relay: reserve at the registry, confirm and release behind its back.

Only the reservation is waited for. A confirmation or release that is lost is mended by the relay's own
reports.
"""

from collections.abc import Awaitable, Callable, Iterable

from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.control import ControlError, RegistryClient
from sipgw.runtime.tasks import TaskGroupOwner


class Placing:
    """Placement of the calls of this edge."""

    def __init__(
        self, client: RegistryClient, tasks: TaskGroupOwner, silent: Callable[[], Iterable[str]]
    ) -> None:
        """`silent`: incarnations of relays that say nothing; their leases may stand for seconds yet."""
        self._client = client
        self._tasks = tasks
        self._silent = silent

    async def place(self, call_id: str, cost_units: int, avoid: Iterable[str]) -> registry.Placement:
        """A relay with room, none of the incarnations in `avoid`. Raises NoPlacement, RegistryUnreachable."""
        return await self._client.place(call_id, cost_units, avoid=(*avoid, *self._silent()))

    def confirm_soon(self, call_id: str, relay_incarnation: str) -> None:
        """The record names the relay now."""
        self._tasks.spawn(_settle(self._client.confirm_placement(call_id, relay_incarnation)), "confirm")

    def release_soon(self, call_id: str, relay_incarnation: str) -> None:
        """The relay does not get the call."""
        self._tasks.spawn(_settle(self._client.release_placement(call_id, relay_incarnation)), "release")


async def _settle(command: Awaitable[None]) -> None:
    try:
        await command
    except ControlError:
        return
