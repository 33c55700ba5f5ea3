"""The first two steps of a move: room on another relay, and the session there."""

import itertools
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of
from sipgw.control import NoPlacement, RegistryUnreachable
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import NotTaken, Rejected
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.media.placement import NoRoom
from sipgw.sip_edge.media.refusals import telling_relay
from sipgw.sip_edge.move.move_ends import LeftSession, MoveEnds
from sipgw.sip_edge.move.new_address import NewAddress
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import moving

_PAUSES_S: Final = (0.2, 0.4, 0.8)
_LONGEST_PAUSE_S: Final = 1.0
_DRAIN_CAUSE: Final = calls.MOVE_CAUSE_DRAIN


class NewRelay:
    """`place` is the step of PLACING, `allocate` that of ALLOCATING."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        media: MediaPlane,
        new_address: NewAddress,
        ends: MoveEnds,
    ) -> None:
        self._settings = process.settings
        self._gateway = process.gateway
        self._now_ms = process.now_ms
        self._records = served.records
        self._allocations = served.allocations
        self._relays = media.relays
        self._media = media.commands
        self._placements = media.placements
        self._new_address = new_address
        self._ends = ends

    async def place(self, live: LiveCall, record: calls.CallSession) -> None:
        """Reserve room on another relay and save its name."""
        pauses_s = itertools.chain(_PAUSES_S, itertools.repeat(_LONGEST_PAUSE_S))

        async def wait(error: NoRoom) -> float | None:
            return next(pauses_s) if await self._may_try_again(live, record, str(error)) else None

        avoid = {record.media.relay.incarnation, *record.move.avoid}
        try:
            placement = await self._placements.place(
                live.call_id, self._allocations.cost_units(record), avoid, wait
            )
        except (NoPlacement, RegistryUnreachable):
            return  # the move has been ended
        with self._placements.saving(live.call_id, placement):
            await self._records.update(
                live.call_id, lambda draft: moving.place(draft, placement), as_owner=True
            )

    async def allocate(self, live: LiveCall, record: calls.CallSession) -> None:
        """Make the session on the target, and save our offer with its address."""
        move = record.move
        try:
            spec = self._allocations.of(
                record,
                sdp_exchange.agreed(record, self._gateway.capabilities),
                epoch=move.epoch,
                continuation=relay.Continuation(
                    elapsed_ms=self._allocations.elapsed_ms(record, self._now_ms()),
                    bot_at_start=move.cause == _DRAIN_CAUSE,
                ),
            )
            async with telling_relay(self._records, record):
                with metrics.ALLOCATE_SECONDS.time():
                    allocated = await self._media.allocate(record, spec, at=move.target)
        except Rejected as rejected:
            await self._ends.fail(live, record, f"it can't be moved: {rejected}", "impossible")
        except NotTaken as left:
            await self._place_elsewhere(live, left)
        else:
            await self._new_address.save_offer(live, record, allocated)

    async def _place_elsewhere(self, live: LiveCall, left: NotTaken) -> None:
        phase, target = left.record.move.phase, left.record.move.target
        with self._placements.placing_elsewhere(left, target, live.log, step="move"):
            await self._records.update(
                live.call_id,
                lambda draft: moving.place_elsewhere(draft, phase, target.relay.incarnation),
                as_owner=True,
            )

    async def _may_try_again(self, live: LiveCall, record: calls.CallSession, why: str) -> bool:
        """Tell whether to ask for room again.

        Without room, a draining relay keeps the call, and a lost one may come back.
        """
        if record.move.cause == _DRAIN_CAUSE:
            await self._ends.withdraw(live, f"no other relay has room: {why}", "no_room")
            return False
        left = await self._ends.ask_left_relay(record)
        if left is LeftSession.THERE:
            await self._ends.withdraw(live, "its relay is back", "relay_back")
            return False
        is_early = self._now_ms() < record.move.deadline_ms
        if is_early or not (left is LeftSession.GONE or self._is_hopeless(record)):
            return True
        await self._ends.give_up(live, f"no other relay took the call: {why}")
        return False

    def _is_hopeless(self, record: calls.CallSession) -> bool:
        """Tell whether the relay is lost for good: silent, and its lease lapsed.

        Without a registry that is unknown.
        """
        late_ms = self._now_ms() - record.move.deadline_ms
        has_lapsed = self._relays.has_lapsed(identity_of(record.media.relay))
        return has_lapsed or late_ms > 2 * self._settings.times.relay_lost_s * 1000
