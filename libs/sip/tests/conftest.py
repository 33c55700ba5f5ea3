"""The bench of the transaction tests: a layer on a virtual clock, and messages written as text."""

import itertools
from collections.abc import Callable

import pytest

from sipgw.sip import Address, SipRequest, SipResponse, TransactionEvent, TransactionLayer, parse_message

PEER = Address("UDP", "192.0.2.1", 5060)


def _sip_text(start_line: str, *, body: bytes = b"", **headers: str | None) -> bytes:
    """Return a message with the usual headers; `call_id="x"` replaces Call-ID, None leaves a header out."""
    words = start_line.split(" ")
    method = words[0] if words[0] != "SIP/2.0" else "INVITE"
    fields: dict[str, str | None] = {
        "via": "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1",
        "max_forwards": "70",
        "from_": '"Alice" <sip:alice@example.net>;tag=a1',
        "to": "<sip:bot@example.com>",
        "call_id": "call-1@192.0.2.1",
        "cseq": f"1 {method}",
        **headers,
    }
    lines = [start_line]
    lines += [
        f"{name.rstrip('_').replace('_', '-')}: {value}"
        for name, value in fields.items()
        if value is not None
    ]
    return ("\r\n".join(lines) + f"\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


class Wire:
    """A TransactionLayer, the time, and what comes out of it."""

    def __init__(self, **options: object) -> None:
        tokens = itertools.count(1)
        options.setdefault("token", lambda: f"token{next(tokens)}")
        self.layer = TransactionLayer(**options)  # type: ignore[arg-type]
        self.now = 0.0

    def receive(self, data: bytes, source: Address = PEER) -> list[TransactionEvent]:
        """Hand a datagram in; return the events that it makes."""
        self.layer.receive_datagram(data, source, self.now)
        return self.events()

    def events(self) -> list[TransactionEvent]:
        events: list[TransactionEvent] = []
        while (event := self.layer.next_event()) is not None:
            events.append(event)
        return events

    def sent(self) -> list[tuple[SipRequest | SipResponse, Address]]:
        """Return the messages sent since the last call of `sent`, each with its destination."""
        return [(parse_message(data), address) for data, address in self.layer.datagrams_to_send(self.now)]

    def sent_lines(self) -> list[str]:
        """Return the messages of `sent` as "100" or "INVITE"."""
        return [_summary(message) for message, _ in self.sent()]

    def run_until(self, end: float) -> list[tuple[float, str]]:
        """Move the clock and fire each timer at its own time; return the messages sent, with their times."""
        log: list[tuple[float, str]] = []
        while (due := self.layer.next_timer()) is not None and due <= end:
            assert due >= self.now, "a timer is due in the past"
            self.now = due
            self.layer.handle_timer(due)
            log += [(round(due, 6), line) for line in self.sent_lines()]
        self.now = end
        return log


def _summary(message: SipRequest | SipResponse) -> str:
    return message.method if isinstance(message, SipRequest) else str(message.status)


@pytest.fixture
def sip_text() -> Callable[..., bytes]:
    return _sip_text


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def new_wire() -> type[Wire]:
    return Wire
