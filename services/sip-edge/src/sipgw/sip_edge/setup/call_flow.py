"""Set up a call, from its record to its answer, with one step for each state of the record.

Each step acts and saves the next state; an edge that takes the call over goes on from that state by the same
steps. The order is always: save the intent, act on the relay, save the result and the response, send it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.control import ControlError, NoPlacement, RegistryUnreachable
from sipgw.runtime.telemetry.metrics import observe, timed
from sipgw.runtime.telemetry.traces import call_span, record_span
from sipgw.sip import serialize
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import LiveCall, RelayGone
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import CallOver, EdgeError, NotTaken, Rejected
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.media.refusals import telling_relay
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import setting_up
from sipgw.sip_edge.record.records import Change
from sipgw.sip_edge.record.states import state_name
from sipgw.sip_edge.setup.bots import Bots, NoBot
from sipgw.sip_edge.setup.first_media import FirstMedia
from sipgw.sip_edge.setup.refusing import refuse
from sipgw.sip_edge.sip.responses import retry_after
from sipgw.sip_edge.sip.signalling import Signalling
from sipgw.store import StoreUnavailable

_TRY_ANOTHER: Final = frozenset({relay.COMMAND_STATUS_NO_PORTS, relay.COMMAND_STATUS_NO_ROOM})
Step = Callable[[LiveCall, calls.CallSession], Awaitable[calls.CallSession]]


class CallFlow:
    """Brings calls from INVITED to ANSWERED; ends a call that cannot go on with the response that fits."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        media: MediaPlane,
        signalling: Signalling,
        first_media: FirstMedia,
        bots: Bots,
    ) -> None:
        self._settings = process.settings
        self._records = served.records
        self._placements = media.placements
        self._allocations = served.allocations
        self._media = media.commands
        self._responses = signalling.responses
        self._ending = served.ending
        self._deadlines = served.deadlines
        self._gateway = process.gateway
        self._first_media = first_media
        self._bots = bots
        self._now_ms = process.now_ms
        self._steps: dict[int, Step] = {
            calls.CALL_STATE_INVITED: self._place,
            calls.CALL_STATE_PLACED: self._allocate,
            calls.CALL_STATE_RINGING: self._answer_when_ready,
        }

    async def run(self, live: LiveCall, record: calls.CallSession) -> None:
        """Go on with a call until it is answered or over."""
        with live.setting_up():
            await self._run(live, record)

    async def _run(self, live: LiveCall, record: calls.CallSession) -> None:
        try:
            while (step := self._steps.get(record.state)) is not None:
                try:
                    record = await step(live, record)
                except NotTaken as left:
                    record = await self._place_elsewhere(live, left)
        except CallOver as over:
            found = state_name(over.record.state) if over.record is not None else "gone"
            live.log.info("call_overtaken", state=found)
        except Rejected as rejected:
            await refuse(
                self._ending,
                live,
                End(calls.END_CAUSE_REJECTED, rejected.detail, rejected.status, rejected.headers),
            )
        except NoBot as no_bot:
            await refuse(self._ending, live, no_bot.end)
        except (EdgeError, StoreUnavailable, ControlError) as error:
            live.log.warning("call_failed", error=f"{type(error).__name__}: {error}")
            await refuse(
                self._ending, live, End(calls.END_CAUSE_REJECTED, "gateway trouble", 503, self._retry_after)
            )

    async def _place(self, live: LiveCall, record: calls.CallSession, refusal: str = "") -> calls.CallSession:
        """Reserve room. `refusal` is the message of the last relay that refused the call, if one did."""
        try:
            with call_span("place", live.trace), timed(metrics.PLACE_SECONDS, live.trace):
                placement = await self._placements.place_new(
                    live.call_id, self._allocations.cost_units(record), live.refused
                )
        except NoPlacement as none:
            headers = retry_after(none.retry_after_s or self._settings.times.retry_after_s)
            reason = f"No Relay: {none.reason}"
            headers += (("Warning", f'399 sipgw "{reason}"'),)  # RFC 3261 §20.43: the reason for the 503
            detail = f"{reason}; relays had refused before, the last with: {refusal}" if refusal else reason
            raise Rejected(503, reason, headers=headers, detail=detail) from none
        except RegistryUnreachable as error:
            raise Rejected(503, "No Registry", headers=self._retry_after) from error
        with self._placements.saving(live.call_id, placement):
            saved = await self._save(record, lambda draft: setting_up.place(draft, placement))
        self._placements.confirm_soon(live.call_id, placement.relay.incarnation)
        live.log.info("call_placed", relay=placement.relay.name)
        return saved

    async def _allocate(self, live: LiveCall, record: calls.CallSession) -> calls.CallSession:
        spec = self._allocations.of(record, self._first_media.of(live, record))
        try:
            async with telling_relay(self._records, record):
                with (
                    call_span("allocate", live.trace, relay=record.media.relay.name),
                    timed(metrics.ALLOCATE_SECONDS, live.trace),
                ):
                    allocated = await self._media.allocate(record, spec)
        except NotTaken as left:
            if left.status == relay.COMMAND_STATUS_INVALID:  # because of the caller's offer
                raise sdp_exchange.not_acceptable(left.reason) from left
            if left.status is not None and left.status not in _TRY_ANOTHER:
                raise Rejected(500, f"Relay: {left.reason}"[:80]) from left
            raise
        return await self._ring(live, record, allocated)

    async def _place_elsewhere(self, live: LiveCall, left: NotTaken) -> calls.CallSession:
        record = left.record
        with self._placements.placing_elsewhere(left, record.media, live.log, step="allocate"):
            live.refused.add(record.media.relay.incarnation)
            if len(live.refused) >= self._settings.limits.placements:
                detail = f"every relay asked refused the call, the last with: {left.reason}"
                raise Rejected(503, "No Relay Takes The Call", headers=self._retry_after, detail=detail)
            saved = await self._place(live, record, left.reason)
            # The record names another relay now, so the old relay's report of the bot is void.
            live.await_bot_again()
        return saved

    async def _ring(
        self, live: LiveCall, record: calls.CallSession, allocated: relay.Allocated
    ) -> calls.CallSession:
        route = self._gateway.route(record.route)
        anchor = calls.MediaAnchor()
        anchor.CopyFrom(record.media)
        anchor.media_address = allocated.address or anchor.media_address
        anchor.rtp_port, anchor.rtcp_port = allocated.rtp_port, allocated.rtcp_port
        anchor.generation, anchor.confirmed = record.version, True
        local_sdp = self._first_media.describe(record, anchor)
        is_early = route is not None and route.early_media and bool(record.legs[0].remote_sdp)
        ringing = None
        if live.template is not None:
            ringing = live.template.build(183, body=local_sdp) if is_early else live.template.build(180)

        saved = await self._save(
            record,
            lambda draft: setting_up.ring(
                draft,
                anchor,
                local_sdp=local_sdp,
                provisional=serialize(ringing) if ringing is not None else b"",
                deadline_ms=self._now_ms() + self._bots.ready_limit_ms(route),
            ),
        )
        self._deadlines.arm(saved)
        if live.setup is not None:
            live.setup.done(asyncio.get_running_loop().time(), is_set_up=True)
        if ringing is not None and not self._is_immediate(route):
            self._responses.send(live.call_id, ringing, live.invite_key, live.destination)
        live.log.info("call_ringing", media=f"{anchor.media_address}:{anchor.rtp_port}")
        return saved

    async def _answer_when_ready(self, live: LiveCall, record: calls.CallSession) -> calls.CallSession:
        route = self._gateway.route(record.route)
        if self._is_immediate(route):
            outcome = live.bot.result() if live.bot.done() else None
        else:
            with call_span("bot connect", live.trace):
                outcome = await self._bots.outcome(live, record)
        if isinstance(outcome, RelayGone):
            raise self._relay_lost(record, outcome.reason)
        if isinstance(outcome, relay.BotFailed):
            return await self._bots.fall_back(live, record, outcome.reason)
        async with telling_relay(self._records, record):
            await self._media.start(record)
        answered = await self._answer(live, record)
        if live.bot.done() and isinstance(failed := live.bot.result(), relay.BotFailed):
            # It failed while the 200 was being saved.
            await self._bots.give_up(live, answered, failed.reason)
        return answered

    def _relay_lost(self, record: calls.CallSession, why: str) -> EdgeError:
        """Make the error for a call whose relay died while it rang: it is placed elsewhere.

        With early media the caller already has the relay's address, which a 200 may not change
        (RFC 3261 §13.2.1): such a call gets 503.
        """
        if b"m=" in record.legs[0].invite.last_provisional:
            return Rejected(503, "Media Relay Lost", headers=self._retry_after)
        return NotTaken(record, why)

    async def _answer(self, live: LiveCall, record: calls.CallSession) -> calls.CallSession:
        leg = record.legs[0]
        if live.template is None:
            raise Rejected(500)
        ok = live.template.build(200, body=leg.local_sdp)
        now_ms = self._now_ms()
        saved = await self._save(
            record,
            lambda draft: setting_up.answer(
                draft,
                _ready_bot(live),
                final=serialize(ok),
                local_target=str(ok.contact.uri) if ok.contact is not None else "",
                now_ms=now_ms,
                deadline_ms=now_ms + int(64_000 * self._settings.times.sip.t1_s),
            ),
        )
        self._deadlines.arm(saved)
        self._responses.send(live.call_id, ok, live.invite_key, live.destination)
        observe(metrics.ANSWER_SECONDS, (now_ms - saved.created_ms) / 1000, live.trace)
        attributes = {"sip.method": "INVITE", "sip.status": 200}
        record_span("transaction", live.trace, live.began_ns, time.time_ns(), attributes)
        live.log.info("call_answered", after_ms=now_ms - saved.created_ms)
        return saved

    async def _save(self, record: calls.CallSession, change: Change) -> calls.CallSession:
        return await self._records.update(record.call_id, change, as_owner=True, known=record)

    @property
    def _retry_after(self) -> tuple[tuple[str, str], ...]:
        return retry_after(self._settings.times.retry_after_s)

    def _is_immediate(self, route: config.Route | None) -> bool:
        return route is not None and route.answer == config.ANSWER_MODE_IMMEDIATE


def _ready_bot(live: LiveCall) -> relay.BotReady | None:
    outcome = live.bot.result() if live.bot.done() else None
    return outcome if isinstance(outcome, relay.BotReady) else None
