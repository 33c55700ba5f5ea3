"""Reserve room for calls on relays at the registry; confirm and release reservations in the background.

Only the reservation is awaited. A lost confirmation or release is corrected by the relay's own reports.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.control import ControlError, NoPlacement, RegistryClient, RegistryUnreachable
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.telemetry.logs import FilteringBoundLogger
from sipgw.sip_edge import metrics
from sipgw.sip_edge.errors import CallOver, NotTaken
from sipgw.sip_edge.media.left_sessions import LeftSessions
from sipgw.sip_edge.media.registry_outage import RegistryOutage
from sipgw.sip_edge.media.relays import Relays

_RETRY_S: Final = 0.1
NoRoom = NoPlacement | RegistryUnreachable
Wait = Callable[[NoRoom], Awaitable[float | None]]
"""Gives the seconds until the next attempt; None: no further attempt."""


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

    async def place(
        self, call_id: str, cost_units: int, avoid: Iterable[str], wait: Wait
    ) -> registry.Placement:
        """Reserve room on a relay whose incarnation is not in `avoid`; try again as `wait` says.

        Raises the last NoPlacement or RegistryUnreachable.
        """
        avoided = tuple(avoid)
        while True:
            try:
                return await self._reserve(call_id, cost_units, avoided)
            except (NoPlacement, RegistryUnreachable) as error:
                pause_s = await wait(error)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    async def place_new(self, call_id: str, cost_units: int, avoid: Iterable[str]) -> registry.Placement:
        """Place a new call.

        Retry for a while when the registry is away, or has just come back and knows no relay with room yet.
        """
        now = asyncio.get_running_loop().time
        asked_at = now()

        async def wait(error: NoRoom) -> float | None:
            if isinstance(error, RegistryUnreachable):
                self._outage.note_unreachable(now())
            else:
                self._outage.note_answered(now())
            return _RETRY_S if self._outage.may_wait(asked_at, now()) else None

        placement = await self.place(call_id, cost_units, avoid, wait)
        self._outage.note_answered(now())
        return placement

    async def _reserve(self, call_id: str, cost_units: int, avoid: Iterable[str]) -> registry.Placement:
        """Reserve room once. Avoid silent relays too, though their leases may stand for seconds yet.

        When a node dies, its relays fall silent one after the other, so those that are likely to be next are
        used only when no other has room.
        """
        avoided = {*avoid, *self._relays.silent_incarnations}
        doubtful = self._relays.doubtful_incarnations - avoided
        if doubtful:
            with contextlib.suppress(NoPlacement):
                return await self._client.place(call_id, cost_units, avoid=(*avoided, *doubtful))
        return await self._client.place(call_id, cost_units, avoid=tuple(avoided))

    @contextmanager
    def saving(self, call_id: str, placement: registry.Placement) -> Generator[None]:
        """Release the reservation if the block cannot save it: the call is over, or another edge has it."""
        try:
            yield
        except CallOver:
            self.release_soon(call_id, placement.relay.incarnation)
            raise

    @contextmanager
    def placing_elsewhere(
        self, left: NotTaken, anchor: calls.MediaAnchor, log: FilteringBoundLogger, *, step: str
    ) -> Generator[None]:
        """Leave the relay of `anchor`, which refused the call, once the block has saved another."""
        metrics.RELAY_REFUSALS.labels(step).inc()
        log.warning("relay_refused", relay=anchor.relay.name, reason=left.reason)
        yield
        self.leave(left.record, anchor)

    def confirm_soon(self, call_id: str, relay_incarnation: str) -> None:
        """Confirm the reservation in the background, now that the record names the relay."""
        confirm = _settle(self._client.confirm_placement, call_id, relay_incarnation)
        self._tasks.spawn(confirm, "confirm", call_id=call_id)

    def release_soon(self, call_id: str, relay_incarnation: str) -> None:
        """Release the reservation in the background, because the relay does not get the call."""
        release = _settle(self._client.release_placement, call_id, relay_incarnation)
        self._tasks.spawn(release, "release", call_id=call_id)

    def leave(self, record: calls.CallSession, anchor: calls.MediaAnchor) -> None:
        """Release a relay's session of a call placed elsewhere, even if a late command makes it later."""
        self.release_soon(record.call_id, anchor.relay.incarnation)
        self._left_sessions.release(record, anchor)

    def end_at(self, record: calls.CallSession, anchor: calls.MediaAnchor, reason: str) -> None:
        """Release the session of a call that is over, at a relay that has not confirmed its release."""
        self._left_sessions.release(record, anchor, reason=reason, moved=False)


async def _settle(
    command: Callable[[str, str], Awaitable[None]], call_id: str, relay_incarnation: str
) -> None:
    try:
        await command(call_id, relay_incarnation)
    except ControlError:
        return
