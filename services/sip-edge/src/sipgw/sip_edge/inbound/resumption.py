"""Go on with a claimed call from its record.

Its relay session is adopted and its timer set. Work under way is resumed: ringing, repeating the 200, an
end that was saved but not carried out.
"""

import asyncio
from dataclasses import dataclass

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of
from sipgw.control import RelayRefused, RelayUnreachable
from sipgw.runtime.settings import Identity
from sipgw.sip import SipResponse, parse_message, response_destination
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import LiveCall, trace_of
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.media.commands import MediaCommands
from sipgw.sip_edge.move.moves import Moves
from sipgw.sip_edge.move.relay_losses import RelayLosses
from sipgw.sip_edge.move.target_refreshes import TargetRefreshes
from sipgw.sip_edge.record.states import HAS_SESSION, UNANSWERED
from sipgw.sip_edge.setup.call_flow import CallFlow
from sipgw.sip_edge.sip.invite_records import address_of
from sipgw.sip_edge.sip.responses import InviteResponseTemplate
from sipgw.sip_edge.sip.signalling import Signalling


@dataclass(frozen=True, slots=True)
class Reinviting:
    """The parts that send our re-INVITEs, and resume those of a dead edge."""

    moves: Moves
    refreshes: TargetRefreshes
    losses: RelayLosses


class Resumption:
    """Resumes claimed calls.

    `take_up` serves a call from its record, `go_on` resumes what is under way in it.
    """

    def __init__(
        self,
        served: ServedCalls,
        media: MediaCommands,
        signalling: Signalling,
        flow: CallFlow,
        reinviting: Reinviting,
    ) -> None:
        self._records = served.records
        self._live = served.live
        self._ending = served.ending
        self._deadlines = served.deadlines
        self._media = media
        self._responses = signalling.responses
        self._local = signalling.local
        self._flow = flow
        self._moves = reinviting.moves
        self._refreshes = reinviting.refreshes
        self._losses = reinviting.losses

    def take_up(self, record: calls.CallSession) -> LiveCall:
        """Serve a call from its record."""
        leg = record.legs[0]
        template = InviteResponseTemplate.from_record(leg, self._local.contact(record.call_id))
        destination = None
        if template is not None:
            destination = response_destination(template.response.via, address_of(leg.invite.source))
        live = LiveCall(
            call_id=record.call_id,
            trace=trace_of(record),
            template=template,
            destination=destination,
        )
        self._live.add(live)
        return live

    async def go_on(self, live: LiveCall, record: calls.CallSession) -> None:
        """Resume the work that the record shows as under way."""
        if record.state == calls.CALL_STATE_ENDING:
            await self._ending.carry_out(record)
            return
        is_leaving = record.HasField("move") and record.move.cause == calls.MOVE_CAUSE_RELAY_LOST
        if record.state in HAS_SESSION and not is_leaving and not await self._attend(live, record):
            return
        self._deadlines.arm(record)
        self._moves.go_on(live, record)
        if record.bot.ready:
            live.note_bot(
                relay.BotReady(confirmed=True, address=record.bot.address, can_resume=record.bot.can_resume)
            )
        if record.state in UNANSWERED:
            await self._flow.run(live, record)
            return
        if not record.legs[0].invite.ack_seen:
            self._repeat_final(live, record)
        await self._refreshes.see_through(live, record)

    async def _attend(self, live: LiveCall, record: calls.CallSession) -> bool:
        """Adopt the call's session, or move the call at once if its relay died with its edge."""
        return self._losses.note_claimed(record) or await self._adopt(live, record)

    async def _adopt(self, live: LiveCall, record: calls.CallSession) -> bool:
        """Have the session's media events sent here.

        If the relay does not know the session, move the call.
        """
        try:
            await self._media.adopt(record)
        except RelayRefused as refused:
            if refused.status == relay.COMMAND_STATUS_NOT_FOUND:
                if await self._moves.session_missing(live, record):
                    return True
                await self._ending.end(
                    live.call_id, End(calls.END_CAUSE_RELAY_LOST, "the relay has no such session")
                )
            else:
                live.log.warning("adopt_refused", message=refused.message)
                self._live.remove(live.call_id)
            return False
        except RelayUnreachable as error:
            live.log.warning("adopt_unanswered", error=str(error))  # retried when its stream is connected
        return True

    async def adopt_all_of(self, relay_of_calls: Identity) -> None:
        """Adopt our calls' sessions at a relay whose stream is connected again.

        Their events come by that stream from now on.
        """
        mine = [
            record
            for record in self._records.owned
            if record.state in HAS_SESSION and identity_of(record.media.relay) == relay_of_calls
        ]
        served = [(self._live.get(record.call_id), record) for record in mine]
        await asyncio.gather(*(self._adopt(live, record) for live, record in served if live is not None))

    def _repeat_final(self, live: LiveCall, record: calls.CallSession) -> None:
        """Repeat the 200 of a call whose edge died: only an ACK tells that the caller got it."""
        data = record.legs[0].invite.last_final
        message = parse_message(data) if data else None
        if isinstance(message, SipResponse):
            self._responses.send(live.call_id, message, None, live.destination)
