"""Room for a call on some relay: reserve at the registry, confirm and release behind its back.

Only the reservation is waited for. A confirmation or release that is lost is mended by the relay's own
reports.
"""

from collections.abc import Awaitable

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.control import ControlError, RegistryClient
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.sip_edge.live_calls import LiveCall

TRUNK_PCMU_COST = 1
STREAM_CALL_COST = 10


class Placing:
    """Placement of the calls of this edge."""

    def __init__(self, client: RegistryClient, tasks: TaskGroupOwner) -> None:
        self._client = client
        self._tasks = tasks

    async def place(self, live: LiveCall) -> registry.Placement:
        """A relay with room that has not refused the call. Raises NoPlacement, RegistryUnreachable."""
        return await self._client.place(live.call_id, cost_units(live), avoid=tuple(live.refused))

    def confirm_soon(self, call_id: str, relay_incarnation: str) -> None:
        """The record names the relay now."""
        self._tasks.spawn(_settle(self._client.confirm_placement(call_id, relay_incarnation)), "confirm")

    def release_soon(self, call_id: str, relay_incarnation: str) -> None:
        """The relay does not get the call."""
        self._tasks.spawn(_settle(self._client.release_placement(call_id, relay_incarnation)), "release")


def cost_units(live: LiveCall) -> int:
    """What the call costs a relay, in units of a trunk PCMU call (DESIGN §4)."""
    decision = live.decision
    is_stream_call = decision is not None and decision.route.protocol == config.BOT_PROTOCOL_STREAM_CALL
    return STREAM_CALL_COST if is_stream_call else TRUNK_PCMU_COST


async def _settle(command: Awaitable[None]) -> None:
    try:
        await command
    except ControlError:
        return
