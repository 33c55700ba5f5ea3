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
from functools import partial
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of
from sipgw.control import ControlError, NoPlacement, RegistryUnreachable, RelayRefused, RelayUnreachable
from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry.traces import call_span
from sipgw.sip import SipResponse
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import CallOver, EdgeError, RecordMissing, Rejected
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.media.fencing import stale_is_over
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.move.outcomes import note_done
from sipgw.sip_edge.move.pace import Pace
from sipgw.sip_edge.move.reinvites import Accepted, Gone, NotNow, Outcome, Refused, Reinvites
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import moving
from sipgw.sip_edge.record.moving import can_resume, cause_name, is_in
from sipgw.sip_edge.record.records import Change
from sipgw.sip_edge.record.reinviting import of_move
from sipgw.sip_edge.record.states import ANSWERED
from sipgw.sip_edge.sip.dialogs import target_of
from sipgw.store import StoreUnavailable

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 1.0
_QUIET_POLL_S: Final = 0.05
_MOST_RETRIES: Final = 5
Step = Callable[[LiveCall, calls.CallSession], Awaitable[None]]
_DRAIN_CAUSE: Final = calls.MOVE_CAUSE_DRAIN
_LOST_CAUSE: Final = calls.MOVE_CAUSE_RELAY_LOST


class Moves:
    """Moves calls. `relay_lost` and `requested` begin a move, `go_on` resumes one. One task at a time moves a
    call.

    `now_ms` is Redis time.
    """

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        media: MediaPlane,
        reinvites: Reinvites,
    ) -> None:
        self._settings = process.settings
        self._records = served.records
        self._relays = media.relays
        self._placements = media.placements
        self._allocations = served.allocations
        self._media = media.commands
        self._reinvites = reinvites
        self._ending = served.ending
        self._gateway = process.gateway
        self._left_sessions = media.left_sessions
        self._tasks = process.tasks
        self.now_ms = process.now_ms
        self._pace = Pace(process.settings.limits.moves_per_s)
        self._steps: dict[int, Step] = {
            calls.MOVE_PHASE_PLACING: self._place,
            calls.MOVE_PHASE_ALLOCATING: self._allocate,
            calls.MOVE_PHASE_OFFERING: self._offer,
            calls.MOVE_PHASE_SWITCHING: self._switch,
        }

    # -- beginnings of a move

    def relay_lost(self, live: LiveCall, session: calls.CallSession) -> None:
        """Begin to move an answered call whose relay is silent or gone."""
        self._tasks.spawn(self._begin(live, session, _LOST_CAUSE), "re-anchor", call_id=live.call_id)

    async def session_missing(self, live: LiveCall, session: calls.CallSession) -> bool:
        """Move a call whose relay does not know the session; False: it is too early to move it."""
        if session.state not in ANSWERED:
            return False
        self.relay_lost(live, session)
        return True

    async def requested(self, live: LiveCall, who: Identity) -> None:
        """Begin to move a call of a draining relay, which found a good moment."""
        session = self._records.copy_of(live.call_id)
        if session is None or identity_of(session.media.relay) != who or session.refuses_move:
            return
        if session.state in ANSWERED and can_resume(session):
            await self._begin(live, session, _DRAIN_CAUSE)

    def go_on(self, live: LiveCall, session: calls.CallSession) -> None:
        """Resume the move that the record tells of."""
        if session.HasField("move"):
            self._see_through(live)

    async def _begin(
        self, live: LiveCall, session: calls.CallSession, cause: calls.MoveCause.ValueType
    ) -> None:
        lost = session.media.relay.incarnation
        limit_ms = int(self._settings.times.relay_lost_s * 1000)
        try:
            if cause == _LOST_CAUSE and self._must_end(session):
                await self._give_up(live, "its bot can't resume")
                return
            saved = await self._update(
                live,
                lambda draft: moving.begin(draft, cause, lost, now_ms=self.now_ms(), limit_ms=limit_ms),
            )
        except (CallOver, RecordMissing):
            return
        except StoreUnavailable as error:
            live.log.warning("move_not_saved", error=str(error))
            return
        live.log.info("move_begun", cause=cause_name(saved), relay=saved.media.relay.name)
        self._see_through(live)

    def _must_end(self, session: calls.CallSession) -> bool:
        route = self._gateway.route(session.route)
        ends = route is not None and route.on_bot_lost == config.ON_BOT_LOST_END
        return ends and not can_resume(session)

    # -- the steps

    def _see_through(self, live: LiveCall) -> None:
        if live.begin_move():
            self._tasks.spawn(self._run(live), "move", call_id=live.call_id)

    async def _run(self, live: LiveCall) -> None:
        try:
            await self._pace.turn()
            while True:
                session = self._records.copy_of(live.call_id)
                if session is None or not session.HasField("move") or session.state not in ANSWERED:
                    return
                if not await self._take_step(live, session):
                    return
        finally:
            live.end_move()

    async def _take_step(self, live: LiveCall, session: calls.CallSession) -> bool:
        """Take one step; False: nothing is left to do here. If another change overtook it, look at the record
        again.
        """
        try:
            await self._steps[session.move.phase](live, session)
        except (CallOver, RecordMissing):
            return self._records.copy_of(live.call_id) is not session
        except (EdgeError, StoreUnavailable, ControlError) as error:
            live.log.warning("move_held_up", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_LONGEST_PAUSE_S)
        return True

    async def _place(self, live: LiveCall, session: calls.CallSession) -> None:
        move = session.move
        avoid = {session.media.relay.incarnation, *move.avoid}
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                cost = self._allocations.cost_units(session)
                placement = await self._placements.place(live.call_id, cost, avoid)
                break
            except (NoPlacement, RegistryUnreachable) as error:
                if not await self._may_try_again(live, session, str(error)):
                    return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

        try:
            await self._update(live, lambda draft: moving.place(draft, placement))
        except CallOver:
            self._placements.release_soon(live.call_id, placement.relay.incarnation)
            raise

    async def _may_try_again(self, live: LiveCall, session: calls.CallSession, why: str) -> bool:
        """Tell whether to ask for room again. Without room, a draining relay keeps the call, and a lost one
        may come back.
        """
        who = identity_of(session.media.relay)
        if session.move.cause == _DRAIN_CAUSE:
            await self._withdraw(live, f"no room elsewhere: {why}", "no_room")
            return False
        if await self._is_back(session):
            await self._withdraw(live, "its relay is back", "relay_back")
            return False
        if self.now_ms() < session.move.deadline_ms or not self._is_hopeless(session, who):
            return True
        await self._give_up(live, f"no other relay took it: {why}")
        return False

    def _is_hopeless(self, session: calls.CallSession, who: Identity) -> bool:
        """Tell whether the relay is lost for good: silent, and its lease lapsed. Without a registry that is
        unknown.
        """
        late_ms = self.now_ms() - session.move.deadline_ms
        return self._relays.has_lapsed(who) or late_ms > 2 * self._settings.times.relay_lost_s * 1000

    async def _is_back(self, session: calls.CallSession) -> bool:
        """Tell whether the relay that the call is leaving is heard again and still has the session."""
        if self._relays.is_silent(identity_of(session.media.relay)):
            return False
        try:
            await self._media.adopt(session)
        except ControlError:
            return False
        return True

    async def _allocate(self, live: LiveCall, session: calls.CallSession) -> None:
        move = session.move
        is_drain = move.cause == _DRAIN_CAUSE
        try:
            spec = self._allocations.of(
                session,
                sdp_exchange.agreed(session, self._gateway.capabilities),
                epoch=move.epoch,
                continuation=relay.Continuation(
                    elapsed_ms=self._allocations.elapsed_ms(session, self.now_ms()), bot_at_start=is_drain
                ),
            )
            async with stale_is_over(self._records, live.call_id):
                with metrics.ALLOCATE_SECONDS.time():
                    allocated = await self._media.allocate(session, spec, at=move.target)
        except Rejected as rejected:
            await self._fail(live, session, f"it can't be moved: {rejected}", "impossible")
            return
        except RelayRefused as refused:
            await self._place_elsewhere(live, session, refused.message)
            return
        except RelayUnreachable as error:
            await self._place_elsewhere(live, session, str(error))
            return
        await self._save_offer(live, session, allocated)

    async def _save_offer(
        self, live: LiveCall, session: calls.CallSession, allocated: relay.Allocated
    ) -> None:
        """Save our offer, once no other INVITE is under way in the dialog (RFC 3261 §14.1)."""
        offer = partial(
            moving.offer,
            allocated=allocated,
            branch=self._reinvites.new_branch(),
            contact=self._reinvites.contact(live.call_id),
            generation=session.version,
            describe=_describe,
        )
        while True:
            try:
                await self._update(live, offer)
                return
            except CallOver as over:
                if over.session is None or not is_in(over.session, calls.MOVE_PHASE_ALLOCATING):
                    raise
            if self.now_ms() > session.move.deadline_ms + 1000 * self._settings.times.reinvite_s:
                await self._fail(live, session, "another INVITE never ended", "refused")
                return
            await asyncio.sleep(_QUIET_POLL_S)

    async def _place_elsewhere(self, live: LiveCall, session: calls.CallSession, why: str) -> None:
        target = session.move.target.relay
        metrics.RELAY_REFUSALS.labels("move").inc()
        live.log.warning("relay_refused", relay=target.name, reason=why)

        await self._update(
            live, lambda draft: moving.place_elsewhere(draft, session.move.phase, target.incarnation)
        )
        self._placements.leave(session, session.move.target)

    async def _offer(self, live: LiveCall, session: calls.CallSession) -> None:
        saved = of_move(session)
        if self._reinvites.is_from_elsewhere(saved, live.call_id):
            self._reinvites.acknowledge_once(session, saved)
            await self._update(live, lambda draft: moving.offer_again(draft, session.move.retries))
            return
        with call_span("re-INVITE", live.trace) as span:
            outcome = await self._reinvites.send(session, saved, patience_s=self._settings.times.reinvite_s)
            span.set("sip.status", outcome.status)
        await self._conclude(live, session, outcome)

    async def _conclude(self, live: LiveCall, session: calls.CallSession, outcome: Outcome) -> None:
        match outcome:
            case Accepted(response=response):
                await self._accepted(live, session, response)
            case NotNow(retry_after_s=pause_s) if session.move.retries < _MOST_RETRIES:
                live.log.info("move_put_off", status=outcome.status, retry_in_s=round(pause_s, 2))
                await self._update(live, lambda draft: moving.offer_again(draft, session.move.retries + 1))
                await asyncio.sleep(pause_s)
            case Gone():
                end = End(calls.END_CAUSE_CALLER_HANGUP, f"the caller answers {outcome.status}: no such call")
                await self._ending.end(live.call_id, end, as_owner=True)
            case Refused() | NotNow():
                why = f"the caller answers {outcome.status} to our re-INVITE"
                await self._fail(live, session, why, "refused")

    async def _accepted(self, live: LiveCall, session: calls.CallSession, response: SipResponse) -> None:
        try:
            described = sdp_exchange.accept(session.move.offer, response.body, self._gateway.capabilities)
        except Rejected as rejected:
            self._reinvites.acknowledge(session, of_move(session))
            await self._give_up(live, f"no usable answer to our re-INVITE: {rejected}")
            return

        contact = target_of(response)
        try:
            await self._update(
                live,
                lambda draft: moving.accept(
                    draft, session.move.cseq, response.body, contact=contact, is_held=described.is_held
                ),
            )
        except CallOver:
            # The call ended meanwhile, but its 200 still needs an ACK.
            self._reinvites.acknowledge(session, of_move(session))
            raise

    async def _switch(self, live: LiveCall, session: calls.CallSession) -> None:
        self._reinvites.acknowledge(session, of_move(session))
        media = sdp_exchange.agreed(session, self._gateway.capabilities)
        try:
            async with stale_is_over(self._records, live.call_id):
                await asyncio.gather(self._media.modify(session, media), self._media.start(session))
        except ControlError as error:
            live.log.warning("relay_refused", relay=session.media.relay.name, reason=str(error))
            self._left_sessions.release(session, session.move.left)
            await self._begin(live, session, _LOST_CAUSE)
            return
        self._left_sessions.release(session, session.move.left)
        self._placements.confirm_soon(live.call_id, session.media.relay.incarnation)
        await self._update(live, lambda draft: moving.settle(draft, session.version, self.now_ms()))
        note_done(live, session, "moved", self.now_ms())
        live.log.info(
            "call_moved",
            cause=cause_name(session),
            from_relay=session.move.left.relay.name,
            to_relay=session.media.relay.name,
            media=f"{session.media.media_address}:{session.media.rtp_port}",
            after_ms=self.now_ms() - session.move.began_ms,
        )

    # -- other ends of a move

    async def _fail(self, live: LiveCall, session: calls.CallSession, why: str, outcome: str) -> None:
        """Give up a move. A relay that drains, or has come back, keeps the call; without any relay the call
        ends.
        """
        if session.move.cause == _DRAIN_CAUSE or await self._is_back(session):
            await self._withdraw(live, why, outcome)
        else:
            await self._give_up(live, why)

    async def _withdraw(self, live: LiveCall, why: str, outcome: str) -> None:
        """Give up a move: the call stays on its relay, and the target is released."""
        is_refused = outcome in {"refused", "impossible"}
        replaced = await self._records.replace(
            live.call_id, lambda draft: moving.withdraw(draft, is_refused=is_refused), as_owner=True
        )
        before, saved = replaced.before, replaced.after
        target = before.move.target
        if target.relay.incarnation:
            self._left_sessions.release(saved, target)
            self._placements.release_soon(live.call_id, target.relay.incarnation)
        note_done(live, before, outcome, self.now_ms())
        live.log.info("move_withdrawn", cause=cause_name(before), reason=why, relay=saved.media.relay.name)

    async def _give_up(self, live: LiveCall, why: str) -> None:
        session = self._records.copy_of(live.call_id)
        if session is None:
            return
        name = session.media.relay.name
        end = End(calls.END_CAUSE_RELAY_LOST, f"media relay {name} is lost, and {why}")
        if await self._ending.end(live.call_id, end, as_owner=True):
            note_done(live, session, "ended", self.now_ms())

    async def _update(self, live: LiveCall, change: Change) -> calls.CallSession:
        return await self._records.update(live.call_id, change, as_owner=True)


def _describe(session: calls.CallSession, at: calls.MediaAnchor, version: int) -> bytes:
    return sdp_exchange.moved(session, at, version).sdp
