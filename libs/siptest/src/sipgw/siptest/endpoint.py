"""The asyncio shell of a TransactionLayer on one UDP socket; keeps every message with its time."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from sipgw.sip import (
    Address,
    ResponseReceived,
    SipRequest,
    SipResponse,
    TimerValues,
    TransactionEvent,
    TransactionKey,
    TransactionLayer,
    TransactionTimedOut,
    TransportFailed,
    Via,
)
from sipgw.siptest.changes import Changes

HostPort = tuple[str, int]


@dataclass(frozen=True, slots=True)
class SipTraffic:
    """A datagram sent or received; `at_s` is monotonic time."""

    at_s: float
    is_sent: bool
    data: bytes
    peer: HostPort

    @property
    def first_line(self) -> str:
        return self.data.split(b"\r\n", 1)[0].decode(errors="replace")


@dataclass(eq=False, slots=True)
class ClientTransaction:
    """Our request and its responses; copies of a 2xx are listed too."""

    request: SipRequest
    destination: Address
    key: TransactionKey
    on_response: Callable[[SipResponse], None]
    on_timeout: Callable[[], None]
    responses: list[SipResponse] = field(default_factory=list[SipResponse])
    changes: Changes = field(default_factory=Changes)
    is_timed_out: bool = False

    @property
    def is_over(self) -> bool:
        return self.is_timed_out or self.final is not None

    @property
    def final(self) -> SipResponse | None:
        return next((r for r in self.responses if r.status >= 200), None)


class SipEndpoint(asyncio.DatagramProtocol):
    """Sends requests and responses; everything but responses to our requests goes to `on_event`."""

    def __init__(self, on_event: Callable[[TransactionEvent], None], timers: TimerValues) -> None:
        self.messages: list[SipTraffic] = []
        self._on_event = on_event
        self._layer = TransactionLayer(timers=timers, token=lambda: f"phone-{secrets.token_hex(6)}")
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._clients: dict[TransactionKey, ClientTransaction] = {}
        self.address = Address("UDP", "", 0)

    @classmethod
    async def open(
        cls, host: str, port: int, on_event: Callable[[TransactionEvent], None], timers: TimerValues
    ) -> "SipEndpoint":
        """Bind a socket."""
        loop = asyncio.get_running_loop()
        _, endpoint = await loop.create_datagram_endpoint(
            lambda: cls(on_event, timers), local_addr=(host, port)
        )
        return endpoint

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        name = cast("HostPort", transport.get_extra_info("sockname"))
        self.address = Address("UDP", name[0], name[1])

    def datagram_received(self, data: bytes, addr: HostPort) -> None:
        """Record the datagram and give it to the layer."""
        now = time.monotonic()
        peer = (addr[0], addr[1])
        self.messages.append(SipTraffic(now, is_sent=False, data=data, peer=peer))
        self._layer.receive_datagram(data, Address("UDP", *peer), now)
        self._pump()

    def error_received(self, exc: Exception) -> None:
        """Ignore a closed port of the peer: the transaction's timer fires, as for a host that is off."""

    def close(self) -> None:
        """Close the socket."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def via(self) -> Via:
        """Return our Via, asking for rport; the layer adds the branch."""
        return Via("UDP", self.address.host, self.address.port, {"rport": None})

    def new_branch(self) -> str:
        """Return a branch for our Via."""
        return self._layer.new_branch()

    def send_request(
        self,
        request: SipRequest,
        destination: Address,
        on_response: Callable[[SipResponse], None] = lambda _: None,
        on_timeout: Callable[[], None] = lambda: None,
    ) -> ClientTransaction:
        """Send a request in a new transaction."""
        key = self._layer.send_request(request, destination, time.monotonic())
        client = ClientTransaction(request, destination, key, on_response, on_timeout)
        self._clients[key] = client
        self._pump()
        return client

    def respond(self, key: TransactionKey, response: SipResponse) -> None:
        """Send a response of a server transaction."""
        self._layer.respond(key, response, time.monotonic())
        self._pump()

    def respond_unless_none(self, key: TransactionKey, response: SipResponse | None) -> None:
        """Send a response, if there is one."""
        if response is not None:
            self.respond(key, response)

    def send_raw(self, message: SipRequest | SipResponse | bytes, destination: Address) -> None:
        """Send outside transactions: the ACK of a 2xx, a 2xx again, a test's own bytes."""
        self._layer.send_raw(message, destination)
        self._pump()

    def _pump(self) -> None:
        """Do what the layer asks for: events, datagrams, the next timer."""
        while (event := self._layer.next_event()) is not None:
            self._dispatch(event)
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._layer.next_timer()
        if due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - time.monotonic()), self._on_timer)

    def _flush(self) -> None:
        now = time.monotonic()
        for data, destination in self._layer.datagrams_to_send(now):
            peer = (destination.host, destination.port)
            self.messages.append(SipTraffic(now, is_sent=True, data=data, peer=peer))
            if self._transport is not None and not self._transport.is_closing():
                self._transport.sendto(data, peer)

    def _on_timer(self) -> None:
        self._timer = None
        self._layer.handle_timer(time.monotonic())
        self._pump()

    def _dispatch(self, event: TransactionEvent) -> None:
        match event:
            case ResponseReceived(key=key, response=response) if key in self._clients:
                client = self._clients[key]
                client.responses.append(response)
                client.on_response(response)
                client.changes.notify()
            case TransactionTimedOut(key=key) | TransportFailed(key=key) if key in self._clients:
                client = self._clients[key]
                client.is_timed_out = client.final is None
                client.on_timeout()
                client.changes.notify()
            case _:
                self._on_event(event)
