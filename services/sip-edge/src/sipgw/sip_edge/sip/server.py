"""SipServer, the asyncio shell around the sans-I/O transaction layer: sockets, one timer, dispatch of events.

The layer's datagrams go out at the end of each turn of the loop. A message that another edge
delivers (`deliver`) is handled as if this edge's socket had received it; the responses return to that edge.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip import (
    AckOfFailure,
    Address,
    ResponseReceived,
    SipRequest,
    SipResponse,
    TransactionEvent,
    TransactionKey,
    TransactionLayer,
    TransactionTerminated,
    TransactionTimedOut,
    make_cancel,
    make_response,
    serialize,
)
from sipgw.sip.transactions.keys import client_key, server_key
from sipgw.sip_edge import metrics
from sipgw.sip_edge.sip.listeners import UdpListener

_log = get_logger("sipgw.sip_edge.server")


class Door(Protocol):
    """Decides which datagrams are read."""

    def admits(self, data: bytes, host: str, now: float) -> bool:
        """Return whether to read a datagram."""
        ...

    def count_dropped(self) -> None:
        """Count the datagrams of a batch that were not admitted."""

    def note(self, event: TransactionEvent, now: float) -> None:
        """Note an event of the transaction layer."""


@dataclass(slots=True)
class _DeliveredMessage:
    """The responses to a message that another edge delivered, until that edge gets them."""

    responses: list[bytes] = field(default_factory=list[bytes])
    responded: asyncio.Event = field(default_factory=asyncio.Event)


class SipServer:
    """Run a transaction layer on a listener. `start` sets the handler of its events."""

    def __init__(self, listener: UdpListener, layer: TransactionLayer, door: Door) -> None:
        self._listener = listener
        self._door = door
        self._layer = layer
        self._loop = asyncio.get_running_loop()
        self._on_event: Callable[[TransactionEvent], None] = _ignore
        self._timer: asyncio.Handle | None = None
        self._timer_due_s = 0.0
        self._flush_handle: asyncio.Handle | None = None
        self._pending: dict[TransactionKey, asyncio.Future[SipResponse | None]] = {}
        self._concluded: dict[TransactionKey, SipResponse | None] = {}
        self._unacked_failures: set[TransactionKey] = set()
        self._progressing: set[TransactionKey] = set()
        self._acks: dict[TransactionKey, tuple[bytes, Address]] = {}
        self._delivered: dict[TransactionKey, _DeliveredMessage] = {}
        self._delivering: _DeliveredMessage | None = None

    @property
    def address(self) -> Address:
        """The address that the listener is bound to."""
        return self._listener.address

    @property
    def pending_requests(self) -> int:
        """The number of our requests that wait for their final response."""
        return len(self._pending)

    def start(self, on_event: Callable[[TransactionEvent], None]) -> None:
        """Start reading; pass each event to `on_event`."""
        self._on_event = on_event
        self._listener.start(self._admits, self._receive, self._finish_batch)

    def respond(self, key: TransactionKey, response: SipResponse) -> None:
        """Send a response through its server transaction; ignored when the transaction is over."""
        if response.status >= 200:
            metrics.RESPONSES.labels(response.cseq.method, response.status).inc()
        delivered = self._delivered.get(key)
        if delivered is None:
            self._respond(key, response)
            self._flush_soon()
            return
        self._flush()
        self._respond(key, response)
        sent = self._layer.datagrams_to_send(self._loop.time())
        delivered.responses += [data for data, _ in sent]
        if response.status >= 200:
            delivered.responded.set()
        self._arm()

    def fail(self, key: TransactionKey, to_tag: str) -> None:
        """Respond with a plain 500, because the intended response could not be made."""
        request = self._layer.request_of(key)
        if request is not None:
            self.respond(key, make_response(request, 500, to_tag=to_tag))

    def awaits_ack(self, ack: SipRequest) -> bool:
        """Tell whether this edge is repeating the 300-699 response that the ACK acknowledges."""
        return server_key(ack) in self._unacked_failures

    def forget(self, key: TransactionKey) -> None:
        """Drop a server transaction without a response, because another edge serves the request."""
        self._layer.forget(key)

    async def request(self, request: SipRequest, destination: Address) -> SipResponse | None:
        """Send a request in a client transaction and give its final response; None if none came."""
        key = self._begin(request, destination)
        try:
            self._flush()
            return await self._pending[key]
        finally:
            self._pending.pop(key).cancel()

    def new_branch(self) -> str:
        """Make a branch that names this edge."""
        return self._layer.new_branch()

    async def invite(
        self, request: SipRequest, destination: Address, *, patience_s: float
    ) -> SipResponse | None:
        """Send an INVITE and give its final response.

        CANCEL it if only provisional ones came in `patience_s`. A 2xx has to be acknowledged with
        `acknowledge`. While its transaction lives, the same INVITE is not sent again but gets the same
        response. So a task whose last step could not be saved can take that step again.
        """
        key = client_key(request)
        if key in self._concluded:
            return self._concluded[key]
        if key in self._pending:
            return await asyncio.shield(self._pending[key])
        self._begin(request, destination)
        response = self._pending[key]
        try:
            self._flush()
            await asyncio.wait({response}, timeout=patience_s)
            if not response.done() and key in self._progressing:
                await self.request(make_cancel(request), destination)
            return await response
        finally:
            self._pending.pop(key).cancel()  # tasks that joined wait no longer than the one that sent it

    def acknowledge(
        self, invite: SipRequest, ack: SipRequest, destination: Address, *, also: SipRequest | None = None
    ) -> None:
        """Send the ACK of a 2xx, and again for each repeated 2xx (RFC 3261 §13.2.2.4).

        `also`: the same INVITE in another transaction, whose 2xx it acknowledges too.
        """
        data = serialize(ack)
        for key in [client_key(one) for one in (invite, also) if one is not None]:
            if self._layer.has(key):
                self._acks[key] = (data, destination)
        self.send(data, destination)

    def has_progressed(self, request: SipRequest) -> bool:
        """Tell whether a provisional response to our request came."""
        return client_key(request) in self._progressing

    def send(self, message: SipResponse | SipRequest | bytes, destination: Address) -> None:
        """Send outside of any transaction: a response from the record, or a repeated 2xx."""
        data = message if isinstance(message, bytes) else serialize(message)
        self._listener.send(data, destination)

    async def deliver(
        self, data: bytes, source: Address, received_on: Address, *, wait_s: float, expects_response: bool
    ) -> list[bytes]:
        """Handle a message that another edge received; give it the responses made within `wait_s`."""
        self._flush()
        delivered = _DeliveredMessage()
        self._delivering = delivered
        try:
            self._layer.receive_datagram(data, source, self._loop.time(), received_on)
            self._dispatch_events()
        finally:
            self._delivering = None
        try:
            sent = self._layer.datagrams_to_send(self._loop.time())
            delivered.responses += [datagram for datagram, _ in sent]
            self._arm()
            if expects_response and not delivered.responses:
                await self._wait_for_response(delivered, wait_s)
        finally:  # also when the other edge stopped waiting: a later response is sent from here
            for key in [key for key, waiting in self._delivered.items() if waiting is delivered]:
                del self._delivered[key]
        return delivered.responses

    def stop_reading(self) -> None:
        """Stop reading messages; responses still go out."""
        self._listener.stop_reading()

    def close(self) -> None:
        """Send the datagrams that are due, then close."""
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
        self._listener.close()
        for response in self._pending.values():
            if not response.done():
                response.set_result(None)

    def _begin(self, request: SipRequest, destination: Address) -> TransactionKey:
        key = self._layer.send_request(request, destination, self._loop.time())
        self._pending[key] = self._loop.create_future()
        return key

    def _respond(self, key: TransactionKey, response: SipResponse) -> None:
        is_taken = self._layer.respond(key, response, self._loop.time())
        if is_taken and response.is_failure and key.method == "INVITE":
            self._unacked_failures.add(key)

    async def _wait_for_response(self, delivered: _DeliveredMessage, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await delivered.responded.wait()
        except TimeoutError:
            return

    def _admits(self, data: bytes, host: str) -> bool:
        return self._door.admits(data, host, self._loop.time())

    def _receive(self, data: bytes, source: Address) -> None:
        self._layer.receive_datagram(data, source, self._loop.time(), self._listener.address)

    def _finish_batch(self, admitted: int) -> None:
        self._door.count_dropped()
        if admitted:
            self._turn()

    def _turn(self) -> None:
        self._dispatch_events()
        self._flush()

    def _dispatch_events(self) -> None:
        while (event := self._layer.next_event()) is not None:
            try:
                self._dispatch(event)
            except Exception:  # the outermost handler: one message must not stop the others
                _log.exception("event_failed", kind=type(event).__name__)

    def _dispatch(self, event: TransactionEvent) -> None:
        match event:
            case ResponseReceived():
                self._receive_response(event)
                return
            case TransactionTerminated():
                self._progressing.discard(event.key)
                self._concluded.pop(event.key, None)
                self._acks.pop(event.key, None)
                return
            case TransactionTimedOut() | AckOfFailure():
                self._unacked_failures.discard(event.key)
                self._settle(event.key, None)
            case _:
                key = getattr(event, "key", None)
                if self._delivering is not None and key is not None:
                    self._delivered[key] = self._delivering
        self._door.note(event, self._loop.time())
        self._on_event(event)

    def _receive_response(self, event: ResponseReceived) -> None:
        if event.response.status < 200:
            self._progressing.add(event.key)
            return
        if event.response.is_success and event.key in self._acks:
            self.send(*self._acks[event.key])
        self._settle(event.key, event.response)

    def _settle(self, key: TransactionKey, response: SipResponse | None) -> None:
        awaited = self._pending.get(key)
        if awaited is not None and key.method == "INVITE":
            self._concluded[key] = response
        if awaited is not None and not awaited.done():
            awaited.set_result(response)

    def _flush_soon(self) -> None:
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        try:
            for data, destination in self._layer.datagrams_to_send(self._loop.time()):
                self._listener.send(data, destination)
        finally:
            self._arm()

    def _arm(self) -> None:
        """Set the one timer.

        Its due time is kept beside it, as uvloop's handle has none once its time has passed.
        """
        due_s = self._layer.next_timer()
        if self._timer is not None:
            if due_s is not None and self._timer_due_s <= due_s:
                return  # it fires early at worst, and is set again
            self._timer.cancel()
            self._timer = None
        if due_s is not None:
            self._timer_due_s = due_s
            self._timer = self._loop.call_at(due_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        try:
            self._layer.handle_timer(self._loop.time())
        finally:
            self._turn()


def _ignore(_event: TransactionEvent) -> None:
    """Ignore an event that comes before `start`."""
