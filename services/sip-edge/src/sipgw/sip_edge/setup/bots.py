"""The bot of a call that is being set up or was answered without one: wait for it, or choose the next."""

import asyncio
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.control import ControlError
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import BotOutcome, LiveCall
from sipgw.sip_edge.call.routing import no_bot_status
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.errors import EdgeError, Rejected
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.media.refusals import telling_relay
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.setup.first_media import FirstMedia
from sipgw.sip_edge.setup.refusing import refuse
from sipgw.sip_edge.sip.responses import retry_after

_DEFAULT_READY_MS: Final = 10_000
_CONFIRM_AFTER_S: Final = 3.0
"""Relays free an unconfirmed session after 10 s."""


class NoBot(EdgeError):
    """No bot accepts the call."""

    def __init__(self, end: End) -> None:
        super().__init__(end.reason)
        self.end = end


class Bots:
    """Gives calls their bots.

    Before the answer: `outcome` and `fall_back`; after it: `give_up` and `replace`.
    """

    def __init__(
        self, process: Process, served: ServedCalls, media: MediaPlane, first_media: FirstMedia
    ) -> None:
        self._times = process.settings.times
        self._gateway = process.gateway
        self._records = served.records
        self._ending = served.ending
        self._deadlines = served.deadlines
        self._fallbacks = served.fallbacks
        self._allocations = served.allocations
        self._media = media.commands
        self._first_media = first_media

    def ready_limit_ms(self, route: config.Route | None) -> int:
        """Give how long a call rings without its bot."""
        limit_ms = route.bot_ready_timeout_ms if route is not None else 0
        return (limit_ms or _DEFAULT_READY_MS) + int(self._times.bot_ready_grace_s * 1000)

    async def outcome(self, live: LiveCall, record: calls.CallSession) -> BotOutcome:
        """Wait until the bot is ready or has failed.

        A relay frees unconfirmed sessions, so a call that rings for long is confirmed.
        """
        await asyncio.wait([live.bot], timeout=_CONFIRM_AFTER_S)
        if not live.bot.done():
            try:
                await self._media.adopt(record)
            except ControlError as error:
                live.log.warning("confirm_failed", error=str(error))
        return await live.bot

    async def fall_back(self, live: LiveCall, record: calls.CallSession, why: str) -> calls.CallSession:
        """Give a call whose bot does not come the next bot. Raises NoBot, NotTaken."""
        route = self._gateway.route(record.route)
        saved = await self._fallbacks.choose_next(live, record, why, self.ready_limit_ms(route))
        if saved is None:
            status = no_bot_status(route)
            headers = retry_after(self._times.retry_after_s) if status == 503 else ()
            raise NoBot(End(calls.END_CAUSE_BOT_LOST, why, status, headers))
        self._deadlines.arm(saved)
        async with telling_relay(self._records, saved):
            await self._media.allocate(saved, self._allocations.of(saved, self._first_media.of(live, saved)))
        return saved

    async def give_up(self, live: LiveCall, record: calls.CallSession, why: str) -> None:
        """Give an answered call whose bot has failed the next bot, or end the call."""
        saved = await self._fallbacks.choose_next(live, record, why, 0)
        if saved is None:
            await refuse(self._ending, live, End(calls.END_CAUSE_BOT_LOST, why))
        else:
            await self.replace(live, saved)

    async def replace(self, live: LiveCall, record: calls.CallSession) -> None:
        """Tell the relay of an answered call that it has another bot now."""
        try:
            await self._media.allocate(
                record, self._allocations.of(record, self._first_media.of(live, record))
            )
        except (ControlError, Rejected) as error:
            live.log.warning("fallback_failed", error=str(error))
            await refuse(self._ending, live, End(calls.END_CAUSE_BOT_LOST, f"no fallback: {error}"))
