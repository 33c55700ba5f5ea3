"""Calls of edges that are gone: claimed partition by partition, spread by rendezvous hash over the edges that
live.

A claimed call goes on from its record: its relay session is adopted, its clock armed again, and what was
under way (ringing, the 200's copies, an end decided but not carried out) is taken up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of, rendezvous_owner
from sipgw.control import RelayRefused, RelayUnreachable
from sipgw.runtime.settings import Identity
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip import SipResponse, parse_message, response_destination
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.deadlines import Deadlines
from sipgw.sip_edge.call.ending import CallEnding, End
from sipgw.sip_edge.call.live_calls import LiveCall, LiveCalls, trace_of
from sipgw.sip_edge.media.commands import MediaCommands
from sipgw.sip_edge.move.moves import Moves
from sipgw.sip_edge.move.relay_losses import RelayLosses
from sipgw.sip_edge.move.target_refreshes import TargetRefreshes
from sipgw.sip_edge.peers.edges import Edges
from sipgw.sip_edge.record.records import CallRecords
from sipgw.sip_edge.record.states import HAS_SESSION, UNANSWERED, state_name
from sipgw.sip_edge.setup.call_flow import CallFlow
from sipgw.sip_edge.sip.dialogs import LocalContact
from sipgw.sip_edge.sip.invite_records import address_of
from sipgw.sip_edge.sip.invite_responses import InviteResponses
from sipgw.sip_edge.sip.responses import InviteResponseTemplate
from sipgw.store import PARTITIONS, StoreUnavailable, partition_of

_log = get_logger("sipgw.sip_edge.claims")
_PARALLEL: Final = 8
_ENDING_LASTS_S: Final = 40.0
"""Longer than any BYE is waited for."""


class OwnerIndex(Protocol):
    """What is used of the call store."""

    async def owners(self, partition: int) -> dict[str, Identity]: ...
    async def owned_by(self, identity: Identity, partition: int) -> list[calls.CallSession]: ...


@dataclass(frozen=True, slots=True)
class Reinviting:
    """What sends re-INVITEs of ours, and goes on with those of an edge that is gone."""

    moves: Moves
    refreshes: TargetRefreshes


class Claims:
    """`sweep` also finds calls whose edge was gone before this one came."""

    def __init__(
        self,
        me: Identity,
        index: OwnerIndex,
        records: CallRecords,
        edges: Edges,
        live: LiveCalls,
        flow: CallFlow,
        media: MediaCommands,
        reinviting: Reinviting,
        losses: RelayLosses,
        responses: InviteResponses,
        ending: CallEnding,
        deadlines: Deadlines,
        local: LocalContact,
        tasks: TaskGroupOwner,
        *,
        may_judge: Callable[[], bool],
    ) -> None:
        self._me = me
        self._index = index
        self._records = records
        self._edges = edges
        self._live = live
        self._flow = flow
        self._media = media
        self._moves = reinviting.moves
        self._refreshes = reinviting.refreshes
        self._losses = losses
        self._responses = responses
        self._ending = ending
        self._deadlines = deadlines
        self._local = local
        self._tasks = tasks
        self._may_judge = may_judge
        self._ending_since: dict[str, float] = {}

    async def sweep(self) -> None:
        """Look through all partitions: claim what nobody alive owns, drop what is not this edge's any more.

        Raises StoreUnavailable.
        """
        room = asyncio.Semaphore(_PARALLEL)

        async def one(partition: int) -> None:
            async with room:
                await self._sweep_partition(partition)

        live_here = {session.call_id for session in self._records.owned}
        self._ending_since = {k: v for k, v in self._ending_since.items() if k in live_here}
        outcomes = await asyncio.gather(*map(one, range(PARTITIONS)), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _sweep_partition(self, partition: int) -> None:
        owners = await self._index.owners(partition)
        await self._reconcile(partition, owners)
        if not self._may_judge() or not owners:
            return
        alive = {self._me, *self._edges.live}
        gone = {owner for owner in owners.values() if owner not in alive}
        if gone and rendezvous_owner(f"p{partition}", alive) == self._me:
            for edge in gone:
                for session in await self._index.owned_by(edge, partition):
                    await self._claim(session)

    async def claim_stranded(self, edge: Identity) -> None:
        """Claim those calls of an edge that says nothing whose relay says nothing either.

        Raises StoreUnavailable.
        """
        if not self._may_judge():
            return
        others = {self._me, *self._edges.live} - {edge}
        mine = [one for one in range(PARTITIONS) if rendezvous_owner(f"p{one}", others) == self._me]
        owners = await asyncio.gather(*map(self._index.owners, mine))
        for partition, found in zip(mine, owners, strict=True):
            if edge in found.values():
                for session in await self._index.owned_by(edge, partition):
                    if session.state in HAS_SESSION and not await self._losses.is_responsive(session):
                        await self._claim(session)

    async def _reconcile(self, partition: int, owners: dict[str, Identity]) -> None:
        """The index and what is served here must agree; the record decides."""
        for session in [one for one in self._records.owned if partition_of(one.call_id) == partition]:
            if owners.get(session.call_id) != self._me:
                await self._records.reload(session.call_id)
            elif session.state == calls.CALL_STATE_ENDING:
                self._finish_if_stuck(session)
        for call_id in [one for one, owner in owners.items() if owner == self._me]:
            if self._records.copy_of(call_id) is None and not self._records.is_away:
                session = await self._records.reload(call_id)
                if session is not None and self._is_orphan(call_id):
                    self._take_back(session)

    def _is_orphan(self, call_id: str) -> bool:
        return self._records.copy_of(call_id) is not None and self._live.get(call_id) is None

    def _take_back(self, session: calls.CallSession) -> None:
        """Ours by the record and not served: a save whose answer was lost. Its INVITE had a 503."""
        live = self.take_up(session)
        if session.state in UNANSWERED:
            end = End(calls.END_CAUSE_REJECTED, "its set-up broke off with Redis")
            self._tasks.spawn(self._ending.end(session.call_id, end), "take back", call_id=live.call_id)
        else:
            self._tasks.spawn(self.go_on(live, session), "take back", call_id=live.call_id)

    def _finish_if_stuck(self, session: calls.CallSession) -> None:
        """An edge that decided the end of our call may have died before it carried it out."""
        now = asyncio.get_running_loop().time()
        since = self._ending_since.setdefault(session.call_id, now)
        if now - since > _ENDING_LASTS_S:
            del self._ending_since[session.call_id]
            self._ending.end_soon(session)

    async def _claim(self, session: calls.CallSession) -> None:
        claimed = await self._records.claim(session)
        if claimed is None:
            return
        metrics.TAKEN_OVER.inc()
        live = self.take_up(claimed)
        live.log.info(
            "call_taken_over",
            from_edge=str(identity_of(session.owner)),
            state=state_name(claimed.state),
        )
        self._tasks.spawn(self.go_on(live, claimed), "go on", call_id=live.call_id)

    def take_up(self, session: calls.CallSession) -> LiveCall:
        """Serve a call from its record."""
        leg = session.legs[0]
        template = InviteResponseTemplate.from_record(leg, self._local.contact(session.call_id))
        destination = None
        if template is not None:
            destination = response_destination(template.response.via, address_of(leg.invite.source))
        live = LiveCall(
            call_id=session.call_id,
            trace=trace_of(session),
            template=template,
            destination=destination,
        )
        self._live.add(live)
        return live

    async def go_on(self, live: LiveCall, session: calls.CallSession) -> None:
        """Take up what the record says is under way."""
        if session.state == calls.CALL_STATE_ENDING:
            await self._ending.carry_out(session)
            return
        is_leaving = session.HasField("move") and session.move.cause == calls.MOVE_CAUSE_RELAY_LOST
        if session.state in HAS_SESSION and not is_leaving and not await self._attend(live, session):
            return
        self._deadlines.arm(session)
        self._moves.go_on(live, session)
        if session.bot.ready:
            live.note_bot(
                relay.BotReady(confirmed=True, address=session.bot.address, can_resume=session.bot.can_resume)
            )
        if session.state in UNANSWERED:
            await self._flow.run(live, session)
            return
        if not session.legs[0].invite.ack_seen:
            self._repeat_final(live, session)
        await self._refreshes.see_through(live, session)

    async def _attend(self, live: LiveCall, session: calls.CallSession) -> bool:
        """Adopt the call's session, or leave its relay at once where that died with the call's edge."""
        return self._losses.note_claimed(session) or await self._adopt(live, session)

    async def _adopt(self, live: LiveCall, session: calls.CallSession) -> bool:
        """Its media events come here now. From a relay that does not know the session the call moves on."""
        try:
            await self._media.adopt(session)
        except RelayRefused as refused:
            if refused.status == relay.COMMAND_STATUS_NOT_FOUND:
                if await self._moves.session_missing(live, session):
                    return True
                await self._ending.end(
                    live.call_id, End(calls.END_CAUSE_RELAY_LOST, "the relay has no such session")
                )
            else:
                live.log.warning("adopt_refused", message=refused.message)
                self._live.remove(live.call_id)
            return False
        except RelayUnreachable as error:
            live.log.warning("adopt_unanswered", error=str(error))  # again when its stream stands
        return True

    async def adopt_all_of(self, relay_of_calls: Identity) -> None:
        """The stream to a relay stands (again): its events of our calls come to this stream."""
        mine = [
            session
            for session in self._records.owned
            if session.state in HAS_SESSION and identity_of(session.media.relay) == relay_of_calls
        ]
        served = [(self._live.get(session.call_id), session) for session in mine]
        await asyncio.gather(*(self._adopt(live, session) for live, session in served if live is not None))

    def _repeat_final(self, live: LiveCall, session: calls.CallSession) -> None:
        """The 200 went out before its edge died; whether the caller got it, only the ACK tells."""
        data = session.legs[0].invite.last_final
        message = parse_message(data) if data else None
        if isinstance(message, SipResponse):
            self._responses.send(live.call_id, message, None, live.destination)


async def sweep_forever(
    claims: Claims, period_s: float, wake: asyncio.Event, on_swept: Callable[[], Awaitable[None]]
) -> None:
    """Sweep each period, and at once when `wake` is set."""
    while True:
        try:
            async with asyncio.timeout(period_s):
                await wake.wait()
        except TimeoutError:
            pass
        wake.clear()
        try:
            await claims.sweep()
            await on_swept()
        except StoreUnavailable as error:
            _log.warning("sweep_failed", error=str(error))
