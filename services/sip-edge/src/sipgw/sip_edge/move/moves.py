"""Move calls to another relay, after their relay's death or while it drains, in the same steps.

    PLACING     the edge asks for room on another relay
    ALLOCATING  the record names the target; the target makes the session
    OFFERING    our re-INVITE with the target's address is saved and sent
    SWITCHING   the caller accepted it: the call is on the target; the old relay is released

Each step acts and saves the next phase; an edge that takes the call over goes on from that phase. Until
SWITCHING the old relay keeps the call, so to give up a move is to forget the target.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.calls import identity_of
from sipgw.control import ControlError
from sipgw.runtime.settings import Identity
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import CallOver, EdgeError, NotTaken, RecordMissing
from sipgw.sip_edge.move.move_ends import MoveEnds
from sipgw.sip_edge.move.new_address import NewAddress
from sipgw.sip_edge.move.new_relay import NewRelay
from sipgw.sip_edge.move.pace import Pace
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import moving
from sipgw.sip_edge.record.moving import can_resume, cause_name
from sipgw.sip_edge.record.states import ANSWERED
from sipgw.store import StoreUnavailable

_HELD_UP_PAUSE_S: Final = 1.0
Step = Callable[[LiveCall, calls.CallSession], Awaitable[None]]
_DRAIN_CAUSE: Final = calls.MOVE_CAUSE_DRAIN
_LOST_CAUSE: Final = calls.MOVE_CAUSE_RELAY_LOST


class Moves:
    """Moves calls.

    `relay_lost` and `requested` begin a move, `go_on` resumes one. One task at a time moves a call.

    `now_ms` is Redis time.
    """

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        new_relay: NewRelay,
        new_address: NewAddress,
        ends: MoveEnds,
    ) -> None:
        self._settings = process.settings
        self._gateway = process.gateway
        self._tasks = process.tasks
        self.now_ms = process.now_ms
        self._records = served.records
        self._ends = ends
        self._pace = Pace(process.settings.limits.moves_per_s)
        self._steps: dict[int, Step] = {
            calls.MOVE_PHASE_PLACING: new_relay.place,
            calls.MOVE_PHASE_ALLOCATING: new_relay.allocate,
            calls.MOVE_PHASE_OFFERING: new_address.offer,
            calls.MOVE_PHASE_SWITCHING: new_address.switch,
        }

    def relay_lost(self, live: LiveCall, record: calls.CallSession) -> None:
        """Begin to move an answered call whose relay is silent or gone."""
        self._tasks.spawn(self._begin(live, record, _LOST_CAUSE), "re-anchor", call_id=live.call_id)

    async def session_missing(self, live: LiveCall, record: calls.CallSession) -> bool:
        """Move a call whose relay does not know the session; False: it is too early to move it."""
        if record.state not in ANSWERED:
            return False
        self.relay_lost(live, record)
        return True

    async def requested(self, live: LiveCall, identity: Identity) -> None:
        """Begin to move a call of a draining relay, which found a good moment."""
        record = self._records.copy_of(live.call_id)
        if record is None or identity_of(record.media.relay) != identity or record.refuses_move:
            return
        if record.state in ANSWERED and can_resume(record):
            await self._begin(live, record, _DRAIN_CAUSE)

    def go_on(self, live: LiveCall, record: calls.CallSession) -> None:
        """Resume the move that the record tells of."""
        if record.HasField("move"):
            self._see_through(live)

    async def _begin(
        self, live: LiveCall, record: calls.CallSession, cause: calls.MoveCause.ValueType
    ) -> None:
        lost = record.media.relay.incarnation
        limit_ms = int(self._settings.times.relay_lost_s * 1000)
        try:
            if cause == _LOST_CAUSE and self._must_end(record):
                await self._ends.give_up(live, "its bot can't resume")
                return
            saved = await self._records.update(
                live.call_id,
                lambda draft: moving.begin(draft, cause, lost, now_ms=self.now_ms(), limit_ms=limit_ms),
                as_owner=True,
            )
        except (CallOver, RecordMissing):
            return
        except StoreUnavailable as error:
            live.log.warning("move_not_saved", error=str(error))
            return
        live.log.info("move_begun", cause=cause_name(saved), relay=saved.media.relay.name)
        self._see_through(live)

    def _must_end(self, record: calls.CallSession) -> bool:
        route = self._gateway.route(record.route)
        ends = route is not None and route.on_bot_lost == config.ON_BOT_LOST_END
        return ends and not can_resume(record)

    def _see_through(self, live: LiveCall) -> None:
        if live.begin_move():
            self._tasks.spawn(self._run(live), "move", call_id=live.call_id)

    async def _run(self, live: LiveCall) -> None:
        try:
            await self._pace.turn()
            while True:
                record = self._records.copy_of(live.call_id)
                if record is None or not record.HasField("move") or record.state not in ANSWERED:
                    return
                if not await self._take_step(live, record):
                    return
        finally:
            live.end_move()

    async def _take_step(self, live: LiveCall, record: calls.CallSession) -> bool:
        """Take one step; False: nothing is left to do here.

        If another change overtook it, look at the record again.
        """
        try:
            await self._steps[record.move.phase](live, record)
        except (CallOver, RecordMissing):
            return self._records.copy_of(live.call_id) is not record
        except NotTaken:
            await self._begin(live, record, _LOST_CAUSE)
        except (EdgeError, StoreUnavailable, ControlError) as error:
            live.log.warning("move_held_up", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_HELD_UP_PAUSE_S)
        return True
