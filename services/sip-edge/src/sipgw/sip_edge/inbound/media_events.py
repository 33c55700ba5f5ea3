"""Handle media events of relays (relay/v1 MediaEvent) by a table from event to handler.

An event is acknowledged when its handler returns. So a handler saves the effect of the event and leaves the
rest to a background task: if the edge dies in between, nothing is lost.
"""

import contextlib
from collections.abc import Awaitable, Callable

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of
from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry.logs import FilteringBoundLogger
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import LiveCall, live_of, log_of
from sipgw.sip_edge.call.routing import no_bot_status
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.dialog.transfer import Transfers
from sipgw.sip_edge.errors import CallOver, RecordMissing
from sipgw.sip_edge.move.moves import Moves
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import bots
from sipgw.sip_edge.record.states import ANSWERED, OVER, UNANSWERED
from sipgw.sip_edge.setup.bots import Bots
from sipgw.store import StoreUnavailable

_DECLINES = frozenset({calls.END_CAUSE_BOT_HANGUP, calls.END_CAUSE_BOT_FINISHED})
_ENDS = frozenset({"bot_failed", "bot_hangup", "bot_finished", "bot_silent", "media_timed_out"})


def _has_call(record: calls.CallSession, identity: Identity) -> bool:
    """Tell whether the call is on that relay or is moving there."""
    return identity in (identity_of(record.media.relay), identity_of(record.move.target.relay))


Handle = Callable[[relay.MediaEvent, LiveCall], Awaitable[None]]


class MediaEvents:
    """Handles the events of relay links.

    For a call that is not served here, an end is saved all the same and the totals of an ended call are
    logged; other events are ignored.
    """

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        transfers: Transfers,
        moves: Moves,
        bots: Bots,
    ) -> None:
        self._records = served.records
        self._live = served.live
        self._ending = served.ending
        self._transfers = transfers
        self._moves = moves
        self._gateway = process.gateway
        self._fallbacks = served.fallbacks
        self._bots = bots
        self._tasks = process.tasks
        self._handlers: dict[str, Handle] = {
            "bot_ready": self._bot_ready,
            "bot_failed": self._bot_failed,
            "bot_hangup": self._bot_hangup,
            "bot_finished": self._bot_finished,
            "bot_silent": self._bot_silent,
            "media_timed_out": self._media_timed_out,
            "transfer_requested": self._transfer_requested,
            "media_started": self._media_started,
            "bot_spoke": self._bot_spoke,
            "digit_received": self._digit_received,
        }

    async def handle(self, identity: Identity, event: relay.MediaEvent) -> None:
        """Save the effect of a relay's event on its call."""
        live = self._live.get(event.call_id)
        kind = event.WhichOneof("event") or ""
        if live is None and kind == "session_ended":
            await self._log_late(event, identity)
            return
        handler = self._handlers.get(kind)
        record = self._records.copy_of(event.call_id)
        if live is None and kind in _ENDS:
            record = await self._records.load(event.call_id)
            live = live_of(record) if record is not None else None
        if live is None or record is None:
            return
        if not _has_call(record, identity):
            if kind == "session_ended":
                _log_totals(live.log, event.session_ended, identity)
        elif kind == "move_requested":
            await self._moves.requested(live, identity)
        elif kind == "session_ended":
            await self._session_ended(event, live, identity)
        elif handler is not None:
            await handler(event, live)

    async def _bot_ready(self, event: relay.MediaEvent, live: LiveCall) -> None:
        ready = event.bot_ready
        live.log.info("bot_ready", address=ready.address, protocol=ready.protocol, confirmed=ready.confirmed)
        live.note_bot(ready)
        record = self._records.copy_of(live.call_id)
        if record is not None and record.state in ANSWERED:
            with contextlib.suppress(CallOver, RecordMissing):
                await self._records.update(
                    live.call_id, lambda draft: bots.note_ready(draft, ready), as_owner=True
                )

    async def _bot_failed(self, event: relay.MediaEvent, live: LiveCall) -> None:
        live.log.warning(
            "bot_failed", reason=event.bot_failed.reason, before_ready=event.bot_failed.before_ready
        )
        if self._is_unanswered(live):
            live.note_bot(event.bot_failed)
            return
        if event.bot_failed.before_ready and await self._has_fallback(live, event.bot_failed.reason):
            return
        await self._end(live, calls.END_CAUSE_BOT_LOST, event.bot_failed.reason)

    async def _has_fallback(self, live: LiveCall, why: str) -> bool:
        """Give the next bot to a call that was answered at once, before its bot was ready.

        False: there is none.
        """
        record = self._records.copy_of(live.call_id)
        if record is None:
            return False
        try:
            saved = await self._fallbacks.choose_next(live, record, why, 0)
        except CallOver:
            return True
        if saved is not None:
            self._tasks.spawn(self._bots.replace(live, saved), "fallback", call_id=live.call_id)
        return saved is not None

    async def _bot_hangup(self, event: relay.MediaEvent, live: LiveCall) -> None:
        await self._end(live, calls.END_CAUSE_BOT_HANGUP, event.bot_hangup.reason or "the bot hung up")

    async def _bot_finished(self, event: relay.MediaEvent, live: LiveCall) -> None:
        record = self._records.copy_of(live.call_id)
        route = self._gateway.route(record.route) if record is not None else None
        if route is not None and route.on_bot_finished == config.ON_BOT_FINISHED_KEEP:
            live.log.info("bot_finished", kept=True)
            return
        await self._end(live, calls.END_CAUSE_BOT_FINISHED, "the bot ended its stream")

    async def _bot_silent(self, event: relay.MediaEvent, live: LiveCall) -> None:
        after_ms = event.bot_silent.after_ms
        await self._end(
            live,
            calls.END_CAUSE_BOT_SILENT,
            f"the bot said nothing for {after_ms} ms: are all its workers busy, or is the route wrong?",
        )

    async def _media_timed_out(self, event: relay.MediaEvent, live: LiveCall) -> None:
        silent_ms = event.media_timed_out.silent_ms
        await self._end(live, calls.END_CAUSE_MEDIA_TIMEOUT, f"no RTP from the caller for {silent_ms} ms")

    async def _transfer_requested(self, event: relay.MediaEvent, live: LiveCall) -> None:
        target = event.transfer_requested.target
        self._tasks.spawn(self._transfers.transfer(live.call_id, target), "transfer", call_id=live.call_id)

    async def _session_ended(self, event: relay.MediaEvent, live: LiveCall, identity: Identity) -> None:
        """Move the call whose session the relay ended by itself; end it if the caller has no answer yet.

        A session also ends because another edge ended or moves the call: then nothing is to be done here.
        """
        _log_totals(live.log, event.session_ended, identity)
        record = self._records.copy_of(live.call_id)
        if record is not None and record.state not in OVER:
            record = await self._records.reload(live.call_id)
        if record is None or identity_of(record.media.relay) != identity:
            return  # a move's target ended it: the move learns it from its next command there
        if record.state in OVER or not self._records.is_mine(record):
            return
        if not await self._moves.session_missing(live, record):
            await self._end(
                live, calls.END_CAUSE_RELAY_LOST, f"the relay ended the session: {event.session_ended.reason}"
            )

    async def _log_late(self, event: relay.MediaEvent, identity: Identity) -> None:
        """Log the totals of a call that has ended here: the response to Release may have overtaken them."""
        record = None
        with contextlib.suppress(StoreUnavailable):
            record = await self._records.load(event.call_id)
        if record is not None and record.state == calls.CALL_STATE_ENDED:
            _log_totals(log_of(record), event.session_ended, identity)

    async def _media_started(self, event: relay.MediaEvent, live: LiveCall) -> None:
        live.log.info("media_started", peer=f"{event.media_started.address}:{event.media_started.port}")

    async def _bot_spoke(self, event: relay.MediaEvent, live: LiveCall) -> None:
        live.log.info("bot_spoke", after_answer_ms=event.bot_spoke.after_answer_ms)

    async def _digit_received(self, event: relay.MediaEvent, live: LiveCall) -> None:
        live.log.debug("digit_received", duration_ms=event.digit_received.duration_ms)

    async def _end(self, live: LiveCall, cause: calls.EndCause.ValueType, reason: str) -> None:
        record = await self._records.load(live.call_id)
        status = 0
        if record is not None and record.state in UNANSWERED and cause not in _DECLINES:
            status = no_bot_status(self._gateway.route(record.route))
        ended = await self._ending.decide(live.call_id, End(cause, reason, status))
        if ended is not None:
            self._ending.end_soon(ended)

    def _is_unanswered(self, live: LiveCall) -> bool:
        record = self._records.copy_of(live.call_id)
        return record is not None and record.state in UNANSWERED


def _log_totals(log: FilteringBoundLogger, ended: relay.SessionEnded, identity: Identity) -> None:
    totals = ended.totals
    log.info(
        "media_ended",
        relay=identity.name,
        reason=ended.reason,
        packets_received=totals.packets_received,
        packets_sent=totals.packets_sent,
        packets_lost=totals.packets_lost,
        digits=len(totals.digits),  # only how many: callers type PINs
        recording=totals.recording_path or None,
    )
