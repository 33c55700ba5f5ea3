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
from sipgw.control import ControlError, NoPlacement, RegistryUnreachable, RelayRefused, RelayUnreachable
from sipgw.runtime.telemetry.metrics import observe, timed
from sipgw.runtime.telemetry.traces import call_span, record_span
from sipgw.sdp import MediaCapabilities
from sipgw.sip import serialize
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import BotOutcome, LiveCall, RelayGone
from sipgw.sip_edge.call.routing import no_bot_status
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import CallOver, EdgeError, Rejected
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.media.fencing import stale_is_over
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import setting_up
from sipgw.sip_edge.record.records import Change
from sipgw.sip_edge.record.states import state_name
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
        self._fallbacks = served.fallbacks
        self._now_ms = process.now_ms
        self._steps: dict[int, Step] = {
            calls.CALL_STATE_INVITED: self._place,
            calls.CALL_STATE_PLACED: self._allocate,
            calls.CALL_STATE_RINGING: self._answer_when_ready,
        }

    def media_wanted(self, offer: bytes, source: str, trunk: config.Trunk | None) -> relay.MediaSpec:
        """Give the media that an INVITE from `source` asks for. Raises Rejected for media that cannot be
        served.
        """
        media = media_wanted(offer, self._capabilities)
        self._media.check_new(media, source, trunk)
        return media

    async def run(self, live: LiveCall, session: calls.CallSession) -> None:
        """Go on with a call until it is answered or over."""
        with live.setting_up():
            await self._run(live, session)

    async def _run(self, live: LiveCall, session: calls.CallSession) -> None:
        try:
            while (step := self._steps.get(session.state)) is not None:
                session = await step(live, session)
        except CallOver as over:
            found = state_name(over.session.state) if over.session is not None else "gone"
            live.log.info("call_overtaken", state=found)
        except Rejected as rejected:
            await self._refuse(
                live, End(calls.END_CAUSE_REJECTED, rejected.detail, rejected.status, rejected.headers)
            )
        except _NoBot as no_bot:
            await self._refuse(live, no_bot.end)
        except (EdgeError, StoreUnavailable, ControlError) as error:
            live.log.warning("call_failed", error=f"{type(error).__name__}: {error}")
            await self._refuse(live, End(calls.END_CAUSE_REJECTED, "gateway trouble", 503, self._retry_after))

    async def _refuse(self, live: LiveCall, end: End) -> None:
        try:
            await self._ending.end(live.call_id, end, as_owner=True)
        except StoreUnavailable as error:
            live.log.warning("refusal_not_saved", error=str(error))

    async def _place(self, live: LiveCall, session: calls.CallSession) -> calls.CallSession:
        try:
            with call_span("place", live.trace), timed(metrics.PLACE_SECONDS, live.trace):
                placement = await self._placements.place_patiently(
                    live.call_id, self._allocations.cost_units(session), live.refused
                )
        except NoPlacement as none:
            headers = retry_after(none.retry_after_s or self._settings.times.retry_after_s)
            raise Rejected(503, f"No Relay: {none.reason}", headers=headers) from none
        except RegistryUnreachable as error:
            raise Rejected(503, "No Registry", headers=self._retry_after) from error
        try:
            saved = await self._save(session, lambda draft: setting_up.place(draft, placement))
        except CallOver:
            self._placements.release_soon(live.call_id, placement.relay.incarnation)
            raise
        self._placements.confirm_soon(live.call_id, placement.relay.incarnation)
        live.log.info("call_placed", relay=placement.relay.name)
        return saved

    async def _allocate(self, live: LiveCall, session: calls.CallSession) -> calls.CallSession:
        spec = self._allocations.of(session, self._media_of(live, session))
        try:
            async with stale_is_over(self._records, live.call_id):
                with (
                    call_span("allocate", live.trace, relay=session.media.relay.name),
                    timed(metrics.ALLOCATE_SECONDS, live.trace),
                ):
                    allocated = await self._media.allocate(session, spec)
        except RelayRefused as refused:
            if refused.status == relay.COMMAND_STATUS_INVALID:  # because of the caller's offer
                raise sdp_exchange.not_acceptable(refused.message) from refused
            if refused.status not in _TRY_ANOTHER:
                raise Rejected(500, f"Relay: {refused.message}"[:80]) from refused
            return await self._place_elsewhere(live, session, refused.message)
        except RelayUnreachable as error:
            return await self._place_elsewhere(live, session, str(error))
        return await self._ring(live, session, allocated)

    async def _place_elsewhere(
        self, live: LiveCall, session: calls.CallSession, why: str
    ) -> calls.CallSession:
        relay_of_call = session.media.relay
        metrics.RELAY_REFUSALS.labels("allocate").inc()
        live.log.warning("relay_refused", relay=relay_of_call.name, reason=why)
        live.refused.add(relay_of_call.incarnation)
        if len(live.refused) >= self._settings.limits.placements:
            detail = f"no relay takes the call, the last is {why}"
            raise Rejected(503, "No Relay Takes The Call", headers=self._retry_after, detail=detail)
        saved = await self._place(live, session)
        # The record names another relay now, so what the old one reported of the bot is void.
        live.await_bot_again()
        self._placements.leave(session, session.media)
        return saved

    async def _ring(
        self, live: LiveCall, session: calls.CallSession, allocated: relay.Allocated
    ) -> calls.CallSession:
        route = self._gateway.route(session.route)
        anchor = calls.MediaAnchor()
        anchor.CopyFrom(session.media)
        anchor.media_address = allocated.address or anchor.media_address
        anchor.rtp_port, anchor.rtcp_port = allocated.rtp_port, allocated.rtcp_port
        anchor.generation, anchor.confirmed = session.version, True
        local_sdp = self._describe(session, anchor)
        is_early = route is not None and route.early_media and bool(session.legs[0].remote_sdp)
        ringing = None
        if live.template is not None:
            ringing = live.template.build(183, body=local_sdp) if is_early else live.template.build(180)

        saved = await self._save(
            session,
            lambda draft: setting_up.ring(
                draft,
                anchor,
                local_sdp=local_sdp,
                provisional=serialize(ringing) if ringing is not None else b"",
                deadline_ms=self._now_ms() + self._ready_limit_ms(route),
            ),
        )
        self._deadlines.arm(saved)
        if live.setup is not None:
            live.setup.done(asyncio.get_running_loop().time(), is_set_up=True)
        if ringing is not None and not self._is_immediate(route):
            self._responses.send(live.call_id, ringing, live.invite_key, live.destination)
        live.log.info("call_ringing", media=f"{anchor.media_address}:{anchor.rtp_port}")
        return saved

    async def _answer_when_ready(self, live: LiveCall, session: calls.CallSession) -> calls.CallSession:
        route = self._gateway.route(session.route)
        if self._is_immediate(route):
            outcome = live.bot.result() if live.bot.done() else None
        else:
            with call_span("bot connect", live.trace):
                outcome = await self._bot_outcome(live, session)
        if isinstance(outcome, RelayGone):
            return await self._leave_lost(live, session, outcome.reason)
        if isinstance(outcome, relay.BotFailed):
            return await self._fall_back(live, session, outcome.reason)
        try:
            async with stale_is_over(self._records, live.call_id):
                await self._media.start(session)
        except RelayUnreachable as error:
            return await self._place_elsewhere(live, session, str(error))
        except RelayRefused as refused:
            return await self._place_elsewhere(live, session, refused.message)
        answered = await self._answer(live, session)
        if live.bot.done() and isinstance(failed := live.bot.result(), relay.BotFailed):
            await self._without_bot(
                live, answered, failed.reason
            )  # it failed while the answer was being saved
        return answered

    async def _leave_lost(self, live: LiveCall, session: calls.CallSession, why: str) -> calls.CallSession:
        """Place a call elsewhere whose relay died while it rang.

        With early media the caller already has the relay's address, which a 200 may not change (RFC 3261
        §13.2.1): such a call gets 503.
        """
        if b"m=" in session.legs[0].invite.last_provisional:
            raise Rejected(503, "Media Relay Lost", headers=self._retry_after)
        return await self._place_elsewhere(live, session, why)

    async def _fall_back(self, live: LiveCall, session: calls.CallSession, why: str) -> calls.CallSession:
        """Give a call whose bot does not come the next one, or end it."""
        route = self._gateway.route(session.route)
        saved = await self._fallbacks.choose_next(live, session, why, self._ready_limit_ms(route))
        if saved is None:
            status = no_bot_status(route)
            headers = self._retry_after if status == 503 else ()
            raise _NoBot(End(calls.END_CAUSE_BOT_LOST, why, status, headers))
        self._deadlines.arm(saved)
        try:
            async with stale_is_over(self._records, live.call_id):
                await self._media.allocate(saved, self._allocations.of(saved, self._media_of(live, saved)))
        except RelayUnreachable as error:
            return await self._place_elsewhere(live, saved, str(error))
        except RelayRefused as refused:
            return await self._place_elsewhere(live, saved, refused.message)
        return saved

    async def _without_bot(self, live: LiveCall, session: calls.CallSession, why: str) -> None:
        saved = await self._fallbacks.choose_next(live, session, why, 0)
        if saved is None:
            await self._refuse(live, End(calls.END_CAUSE_BOT_LOST, why))
        else:
            await self.replace_bot(live, saved)

    async def replace_bot(self, live: LiveCall, session: calls.CallSession) -> None:
        """Tell the relay of an answered call that it has another bot now."""
        try:
            await self._media.allocate(session, self._allocations.of(session, self._media_of(live, session)))
        except (ControlError, Rejected) as error:
            live.log.warning("fallback_failed", error=str(error))
            await self._refuse(live, End(calls.END_CAUSE_BOT_LOST, f"no fallback: {error}"))

    async def _bot_outcome(self, live: LiveCall, session: calls.CallSession) -> BotOutcome:
        """Wait until the bot is ready or has failed. A relay frees unconfirmed sessions, so a call that rings
        for long is confirmed.
        """
        await asyncio.wait([live.bot], timeout=_CONFIRM_AFTER_S)
        if not live.bot.done():
            try:
                await self._media.adopt(session)
            except ControlError as error:
                live.log.warning("confirm_failed", error=str(error))
        return await live.bot

    async def _answer(self, live: LiveCall, session: calls.CallSession) -> calls.CallSession:
        leg = session.legs[0]
        if live.template is None:
            raise Rejected(500)
        ok = live.template.build(200, body=leg.local_sdp)
        now_ms = self._now_ms()
        saved = await self._save(
            session,
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

    async def _save(self, session: calls.CallSession, change: Change) -> calls.CallSession:
        return await self._records.update(session.call_id, change, as_owner=True, known=session)

    def _media_of(self, live: LiveCall, session: calls.CallSession) -> relay.MediaSpec:
        """As it was wanted when the INVITE came; of a call that was taken over, by its record."""
        return live.media or media_wanted(session.legs[0].remote_sdp, self._capabilities)

    def _describe(self, session: calls.CallSession, anchor: calls.MediaAnchor) -> bytes:
        placed = calls.CallSession(call_id=session.call_id, media=anchor)
        offer = session.legs[0].remote_sdp
        if not offer:
            return sdp_exchange.offer_with(self._capabilities, placed, 1).sdp
        return sdp_exchange.answer_with(sdp_exchange.read_offer(offer), self._capabilities, placed, 1).sdp

    @property
    def _capabilities(self) -> MediaCapabilities:
        return self._gateway.capabilities

    @property
    def _retry_after(self) -> tuple[tuple[str, str], ...]:
        return retry_after(self._settings.times.retry_after_s)

    def _is_immediate(self, route: config.Route | None) -> bool:
        return route is not None and route.answer == config.ANSWER_MODE_IMMEDIATE

    def _ready_limit_ms(self, route: config.Route | None) -> int:
        limit_ms = route.bot_ready_timeout_ms if route is not None else 0
        return (limit_ms or _DEFAULT_READY_MS) + int(self._settings.times.bot_ready_grace_s * 1000)


_DEFAULT_READY_MS = 10_000
_CONFIRM_AFTER_S = 3.0
"""Relays free an unconfirmed session after 10 s."""


class _NoBot(Exception):  # noqa: N818 - an outcome of one step
    """No bot takes the call."""

    def __init__(self, end: End) -> None:
        super().__init__(end.reason)
        self.end = end


def media_wanted(remote_sdp: bytes, capabilities: MediaCapabilities) -> relay.MediaSpec:
    """Give the media that a relay is to carry: that of the caller's offer, or of ours if the INVITE has none.
    Raises Rejected.
    """
    if not remote_sdp:
        return sdp_exchange.offered_media(capabilities)
    return sdp_exchange.negotiate(sdp_exchange.read_offer(remote_sdp), capabilities)


def _ready_bot(live: LiveCall) -> relay.BotReady | None:
    outcome = live.bot.result() if live.bot.done() else None
    return outcome if isinstance(outcome, relay.BotReady) else None
