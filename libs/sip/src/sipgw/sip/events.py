"""The events that a TransactionLayer reports to its user."""

from dataclasses import dataclass
from typing import TypeAlias

from sipgw.sip.errors import SipParseError
from sipgw.sip.message import SipRequest, SipResponse
from sipgw.sip.routing import Address
from sipgw.sip.transactions.keys import TransactionKey


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A new request (no ACK, no CANCEL, no retransmission); respond to it with `respond(key, ...)`."""

    key: TransactionKey
    request: SipRequest
    source: Address
    received_on: Address | None


@dataclass(frozen=True, slots=True)
class AckReceived:
    """An ACK for a 2xx, or one that matches nothing here."""

    request: SipRequest
    source: Address
    received_on: Address | None


@dataclass(frozen=True, slots=True)
class AckOfFailure:
    """The ACK of our 300-699 response to the INVITE `key`."""

    key: TransactionKey


@dataclass(frozen=True, slots=True)
class CancelReceived:
    """A CANCEL, a transaction of its own; respond to it with `respond(key, ...)` and 200 or 481.

    `invite_key` is the INVITE transaction that it cancels; None when there is no such transaction here.
    """

    key: TransactionKey
    request: SipRequest
    invite_key: TransactionKey | None
    source: Address
    received_on: Address | None


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """A response to our request; a 2xx to INVITE is reported once for each copy (RFC 6026 §8.4)."""

    key: TransactionKey
    response: SipResponse
    source: Address


@dataclass(frozen=True, slots=True)
class ResponseStray:
    """A response that matches no transaction here: a late 2xx, or another edge's."""

    response: SipResponse
    source: Address


@dataclass(frozen=True, slots=True)
class TransactionTimedOut:
    """No final response (timers B, F) or no ACK for our failure (timer H)."""

    key: TransactionKey


@dataclass(frozen=True, slots=True)
class TransportFailed:
    """The transport could not send for this transaction (RFC 3261 §17.1.4, §17.2.4)."""

    key: TransactionKey


@dataclass(frozen=True, slots=True)
class TransactionTerminated:
    """The transaction has ended; its key is of no further use."""

    key: TransactionKey


@dataclass(frozen=True, slots=True)
class MalformedReceived:
    """A datagram that is no valid message. `is_answered` tells whether a response was sent."""

    error: SipParseError
    data: bytes
    source: Address
    is_answered: bool


TransactionEvent: TypeAlias = (
    RequestReceived
    | AckReceived
    | AckOfFailure
    | CancelReceived
    | ResponseReceived
    | ResponseStray
    | TransactionTimedOut
    | TransportFailed
    | TransactionTerminated
    | MalformedReceived
)
