"""Reserve room for calls on relays at the registry; confirm and release reservations in the background.

Only the reservation is awaited. A lost confirmation or release is corrected by the relay's own reports.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.control import ControlError, NoPlacement, RegistryClient, RegistryUnreachable
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.sip_edge.media.left_sessions import LeftSessions
from sipgw.sip_edge.media.registry_outage import RegistryOutage
from sipgw.sip_edge.media.relays import Relays

_RETRY_S: Final = 0.1


class Placements:
    """Placements of this edge's calls."""

    def __init__(
        self,
        client: RegistryClient,
        tasks: TaskGroupOwner,
        relays: Relays,
        outage: RegistryOutage,
        left_sessions: LeftSessions,
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._relays = relays
        self._outage = outage
        self._left_sessions = left_sessions

    async def place(self, call_id: str, cost_units: int, avoid: Iterable[str]) -> registry.Placement:
        """Reserve room on a relay whose incarnation is not in `avoid`. Raises NoPlacement,
        RegistryUnreachable.

        Silent relays are avoided too, though their leases may stand for seconds yet. When a node dies, its
        relays fall silent one after the other, so those that are likely to be next are used only when no
        other has room.
        """
        avoided = {*avoid, *self._relays.silent_incarnations}
        doubtful = self._relays.doubtful_incarnations - avoided
        if doubtful:
            with contextlib.suppress(NoPlacement):
                return await self._client.place(call_id, cost_units, avoid=(*avoided, *doubtful))
        return await self._client.place(call_id, cost_units, avoid=tuple(avoided))

    async def place_patiently(
        self, call_id: str, cost_units: int, avoid: Iterable[str]
    ) -> registry.Placement:
        """Reserve as `place` does, and retry for a while when the registry is away, or has just come back and
        knows no relay with room yet.
        """
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        avoided = tuple(avoid)
        while True:
            try:
                placement = await self.place(call_id, cost_units, avoided)
            except RegistryUnreachable:
                self._outage.note_unreachable(loop.time())
                if not self._outage.may_wait(asked_at, loop.time()):
                    raise
            except NoPlacement:
                self._outage.note_answered(loop.time())
                if not self._outage.may_wait(asked_at, loop.time()):
                    raise
            else:
                self._outage.note_answered(loop.time())
                return placement
            await asyncio.sleep(_RETRY_S)

    def confirm_soon(self, call_id: str, relay_incarnation: str) -> None:
        """Confirm the reservation in the background, now that the record names the relay."""
        confirm = _settle(self._client.confirm_placement, call_id, relay_incarnation)
        self._tasks.spawn(confirm, "confirm", call_id=call_id)

    def release_soon(self, call_id: str, relay_incarnation: str) -> None:
        """Release the reservation in the background, because the relay does not get the call."""
        release = _settle(self._client.release_placement, call_id, relay_incarnation)
        self._tasks.spawn(release, "release", call_id=call_id)

    def leave(self, session: calls.CallSession, anchor: calls.MediaAnchor) -> None:
        """Release what a relay has of a call that is placed elsewhere now, or may get from a late command."""
        self.release_soon(session.call_id, anchor.relay.incarnation)
        self._left_sessions.release(session, anchor)

    def end_at(self, session: calls.CallSession, anchor: calls.MediaAnchor, reason: str) -> None:
        """Release the session of a call that is over, at a relay that has not confirmed its release."""
        self._left_sessions.release(session, anchor, reason=reason, moved=False)


async def _settle(
    command: Callable[[str, str], Awaitable[None]], call_id: str, relay_incarnation: str
) -> None:
    try:
        await command(call_id, relay_incarnation)
    except ControlError:
        return
