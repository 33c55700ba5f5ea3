"""Dispatch transaction events to their handlers and cap concurrent requests."""

import secrets
from collections.abc import Awaitable, Callable, Coroutine

from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip import (
    AckReceived,
    CancelReceived,
    MalformedReceived,
    RequestReceived,
    ResponseStray,
    TransactionEvent,
)
from sipgw.sip_edge import metrics
from sipgw.sip_edge.dialog.in_dialog import InDialog
from sipgw.sip_edge.peers.delivery import Delivery
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.setup.cancels import Cancels
from sipgw.sip_edge.setup.intake import Intake
from sipgw.sip_edge.sip.admission import CAPABILITIES, OPTIONS_HEADERS, refusal_of
from sipgw.sip_edge.sip.responses import response_to, retry_after
from sipgw.sip_edge.sip.server import SipServer

_log = get_logger("sipgw.sip_edge.dispatcher")
Serve = Callable[[RequestReceived], Awaitable[None]]
_KNOWN_METHODS = frozenset(CAPABILITIES.methods)


class Dispatcher:
    """Handles every event of the server."""

    def __init__(
        self,
        process: Process,
        sip: SipServer,
        intake: Intake,
        cancels: Cancels,
        in_dialog: InDialog,
        delivery: Delivery,
    ) -> None:
        self._settings = process.settings
        self._sip = sip
        self._intake = intake
        self._cancels = cancels
        self._in_dialog = in_dialog
        self._delivery = delivery
        self._tasks = process.requests

    def handle(self, event: TransactionEvent) -> None:
        """Start a handler for an event; never wait for it."""
        match event:
            case RequestReceived():
                self._request(event)
            case AckReceived():
                self._spawn(self._in_dialog.ack(event), "ACK")
            case CancelReceived():
                self._cancel(event)
            case ResponseStray():
                stray = self._delivery.deliver_response(event.response, event.source, self._sip.address)
                self._spawn(stray, "stray response")
            case MalformedReceived():
                metrics.MALFORMED.inc()
            case _:
                return

    def _request(self, event: RequestReceived) -> None:
        request = event.request
        method = request.method
        metrics.REQUESTS.labels(method if method in _KNOWN_METHODS else "other").inc()
        refusal = refusal_of(request, secrets.token_hex(8))
        if refusal is not None:
            self._sip.respond(event.key, refusal)
        elif request.to.tag is not None:
            self._serve(event, self._in_dialog.take)
        elif method == "INVITE":
            self._serve(event, self._intake.take)
        elif method == "OPTIONS":
            self._options(event)
        else:
            self._sip.respond(event.key, response_to(request, 481, to_tag=secrets.token_hex(8)))

    def _cancel(self, event: CancelReceived) -> None:
        metrics.REQUESTS.labels("CANCEL").inc()
        if not self._spawn(self._cancels.take(event), "CANCEL"):
            self._sip.forget(event.key)

    def _options(self, event: RequestReceived) -> None:
        """Respond to OPTIONS outside a call.

        Carriers probe with it, so an edge that takes no new calls says 503.
        """
        if self._intake.is_stopping:
            self._respond(event, 503)
            return
        ok = response_to(event.request, 200, to_tag=secrets.token_hex(8), headers=OPTIONS_HEADERS)
        self._sip.respond(event.key, ok)

    def _serve(self, event: RequestReceived, serve: Serve) -> None:
        if not self._spawn(self._guarded(event, serve), event.request.method):
            self._respond(event, 503)

    async def _guarded(self, event: RequestReceived, serve: Serve) -> None:
        try:
            await serve(event)
        except Exception:  # the outermost handler: every request gets a response
            metrics.TASKS_CRASHED.labels(event.request.method).inc()
            _log.exception("request_failed", method=event.request.method, sip_call_id=event.request.call_id)
            self._respond(event, 500)

    def _respond(self, event: RequestReceived, status: int) -> None:
        headers = retry_after(self._settings.times.retry_after_s)
        tag = secrets.token_hex(8)
        self._sip.respond(event.key, response_to(event.request, status, to_tag=tag, headers=headers))

    def _spawn(self, coro: Coroutine[None, None, None], name: str) -> bool:
        if len(self._tasks) >= self._settings.limits.requests:
            coro.close()
            metrics.DATAGRAMS_DROPPED.labels("too_busy").inc()
            return False
        self._tasks.spawn(coro, name)
        return True
