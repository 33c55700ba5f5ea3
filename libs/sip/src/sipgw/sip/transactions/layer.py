"""The transaction layer (RFC 3261 §17, §18): datagrams, responses and the clock in; datagrams and events out.

It stamps received/rport, matches messages to transactions, runs the state tables, retransmits, responds to
malformed requests, and reports the rest. It opens no socket, reads no clock, and decides nothing about calls.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from itertools import count
from typing import Final

from sipgw.sip.errors import SipParseError, SipUsageError
from sipgw.sip.events import (
    AckOfFailure,
    AckReceived,
    CancelReceived,
    MalformedReceived,
    RequestReceived,
    ResponseReceived,
    ResponseStray,
    TransactionEvent,
    TransactionTerminated,
    TransactionTimedOut,
    TransportFailed,
)
from sipgw.sip.message import SipRequest, SipResponse
from sipgw.sip.parser import DEFAULT_LIMITS, ParserLimits, parse_message
from sipgw.sip.requests import make_ack
from sipgw.sip.responses import make_response
from sipgw.sip.routing import Address, response_destination, stamp_source
from sipgw.sip.serializer import serialize
from sipgw.sip.timers import Timer, TimerValues
from sipgw.sip.transactions.keys import TransactionKey, client_key, server_key
from sipgw.sip.transactions.states import Action, Input, State, Transition
from sipgw.sip.transactions.transaction import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    TIMER_INPUTS,
    Transaction,
)
from sipgw.sip.via import MAGIC_COOKIE

_KEEP_ALIVE = b"\r\n\x00 "
_REPORTS: Final = {
    Action.REPORT_ACK: AckOfFailure,
    Action.REPORT_TIMEOUT: TransactionTimedOut,
    Action.REPORT_TRANSPORT_ERROR: TransportFailed,
}
_OVERLOADED = (("Retry-After", "5"),)


class Screening(Enum):
    """The verdict on a request that would begin a transaction."""

    TAKE = "take"
    DROP = "drop"
    """Drop it: no state, no response."""


def _take_all(_request: SipRequest, _source: Address, _now: float) -> Screening:
    return Screening.TAKE


class TransactionLayer:
    """All transactions of one endpoint.

    `token` returns a fresh random token at each call (branches, tags).
    """

    def __init__(
        self,
        timers: TimerValues | None = None,
        *,
        token: Callable[[], str],
        max_transactions: int = 100_000,
        limits: ParserLimits = DEFAULT_LIMITS,
        screen: Callable[[SipRequest, Address, float], Screening | SipResponse] = _take_all,
    ) -> None:
        """Take the limits and the screen of new requests.

        Above `max_transactions` a new request gets 503 with Retry-After and leaves no trace. `screen` is
        asked before a request begins a transaction. A response that it returns is sent once and nothing is
        remembered (RFC 3261 §8.2.7): no 100, no retransmission, and an ACK of it matches nothing.
        """
        self._screen = screen
        self._values = timers or TimerValues()
        self._token = token
        self._max_transactions = max_transactions
        self._limits = limits
        self._transactions: dict[TransactionKey, Transaction] = {}
        self._open_names: Counter[str] = Counter()
        self._deadlines: list[tuple[float, int, TransactionKey, Timer]] = []
        self._deadline_number = count()
        self._outbox: list[tuple[bytes, Address]] = []
        self._events: deque[TransactionEvent] = deque()

    # in: the wire

    def receive_datagram(
        self, data: bytes, source: Address, now: float, received_on: Address | None = None
    ) -> None:
        """Take one datagram, or one framed message of a stream. Never raise for its contents."""
        if len(data) <= 8 and not data.strip(_KEEP_ALIVE):
            return
        try:
            message = parse_message(data, self._limits)
        except SipParseError as error:
            is_answered = self._refuse(error, source)
            self._events.append(MalformedReceived(error, data, source, is_answered))
            return
        if isinstance(message, SipRequest):
            self._receive_request(message, source, now, received_on)
        else:
            self._receive_response(message, source, now)

    def transport_failed(self, key: TransactionKey, now: float) -> None:
        """Report that the transport could not send for this transaction."""
        transaction = self._transactions.get(key)
        if transaction is not None:
            self._step(transaction, Input.TRANSPORT_ERROR, now)

    # in: the user

    def send_request(self, request: SipRequest, destination: Address, now: float) -> TransactionKey:
        """Start a client transaction.

        A top Via without branch gets one. An ACK for a 2xx goes by `send_raw`.
        """
        if request.method == "ACK":
            raise SipUsageError("an ACK begins no transaction: send it with send_raw")
        via = request.via
        if not via.branch:
            request.headers.replace_first("Via", str(via.with_params(branch=self.new_branch())))
        key = client_key(request)
        if key in self._transactions:
            raise SipUsageError(f"branch used twice: {key.branch}")
        machine = INVITE_CLIENT if request.method == "INVITE" else NON_INVITE_CLIENT
        self._begin(Transaction(key, machine, request, destination), now, outgoing=serialize(request))
        return key

    def respond(self, key: TransactionKey, response: SipResponse, now: float) -> bool:
        """Send a response of a server transaction.

        Return False when the transaction is gone or has had its final response.
        """
        transaction = self._transactions.get(key)
        if transaction is None:
            return False
        given = _response_input(response)
        if Action.SEND not in transaction.machine.table[transaction.state, given].actions:
            return False
        self._step(transaction, given, now, outgoing=serialize(response))
        return True

    def send_raw(self, message: SipRequest | SipResponse | bytes, destination: Address) -> None:
        """Send outside of any transaction: ACKs for 2xx, copies of a 2xx, responses kept in a record."""
        self._outbox.append((message if isinstance(message, bytes) else serialize(message), destination))

    def forget(self, key: TransactionKey) -> None:
        """Drop a transaction silently: another edge owns it."""
        if key in self._transactions:
            self._remove(key)

    def has(self, key: TransactionKey) -> bool:
        """Return whether the transaction lives."""
        return key in self._transactions

    def request_of(self, key: TransactionKey) -> SipRequest | None:
        """Return the request of a transaction that has no final response yet."""
        transaction = self._transactions.get(key)
        return transaction.request if transaction is not None else None

    def new_branch(self) -> str:
        """Return a branch for our Via."""
        return f"{MAGIC_COOKIE}-{self._token()}"

    # in: the clock

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is due; None when no timer runs."""
        deadlines = self._deadlines
        while deadlines and self._timed(*deadlines[0]) is None:
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def handle_timer(self, now: float) -> None:
        """Fire every timer that is due."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            entry = heapq.heappop(deadlines)
            transaction = self._timed(*entry)
            if transaction is None:
                continue
            timer = entry[3]
            fired = transaction.timers[timer]
            self._step(transaction, TIMER_INPUTS[timer], now)
            if transaction.timers.get(timer) is fired:
                del transaction.timers[timer]

    # out

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        """Take the datagrams to be sent, in order."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> TransactionEvent | None:
        """Take the oldest event."""
        return self._events.popleft() if self._events else None

    @property
    def live_transactions(self) -> int:
        return len(self._transactions)

    def has_invite(self, call_id: str) -> bool:
        """Return whether an INVITE with this Call-ID has a server transaction.

        If so, an ACK or a CANCEL may be for it.
        """
        return f"invite {call_id}" in self._open_names

    def has_request(self, branch: str) -> bool:
        """Return whether our request with this branch has a client transaction.

        If so, a response may be for it.
        """
        return f"branch {branch}" in self._open_names

    # inside

    def _receive_request(
        self, request: SipRequest, source: Address, now: float, received_on: Address | None
    ) -> None:
        stamp_source(request, source)
        key = server_key(request)
        transaction = self._transactions.get(key)
        if request.method == "ACK":
            event = AckReceived(request, source, received_on)
            if transaction is None:
                self._events.append(event)
            else:
                self._step(transaction, Input.ACK, now, event=event)
            return
        if transaction is not None:
            self._step(transaction, Input.REQUEST, now)
            return
        screened = self._screen(request, source, now)
        if screened is Screening.DROP:
            return
        peer = response_destination(request.via, source)
        if len(self._transactions) >= self._max_transactions:
            screened = make_response(request, 503, to_tag=self._token(), headers=_OVERLOADED)
        if isinstance(screened, SipResponse):
            self._outbox.append((serialize(screened), peer))
            return
        machine = INVITE_SERVER if request.method == "INVITE" else NON_INVITE_SERVER
        if request.method == "CANCEL":
            invite_key = server_key(request, method="INVITE")
            known = invite_key if invite_key in self._transactions else None
            begun: TransactionEvent = CancelReceived(key, request, known, source, received_on)
        else:
            begun = RequestReceived(key, request, source, received_on)
        self._begin(Transaction(key, machine, request, peer), now, event=begun)

    def _receive_response(self, response: SipResponse, source: Address, now: float) -> None:
        key = client_key(response)
        transaction = self._transactions.get(key)
        if transaction is None:
            self._events.append(ResponseStray(response, source))
            return
        request = transaction.request
        if response.is_failure and request is not None and transaction.machine is INVITE_CLIENT:
            transaction.ack = serialize(make_ack(request, response))
        event = ResponseReceived(key, response, source)
        self._step(transaction, _response_input(response), now, event=event)

    def _refuse(self, error: SipParseError, source: Address) -> bool:
        """Respond to a malformed request without state; return whether that was possible."""
        request = error.request
        if request is None or request.method == "ACK" or "Via" not in request.headers:
            return False
        try:
            stamp_source(request, source)
            destination = response_destination(request.via, source)
        except SipParseError:  # the Via itself is malformed (RFC 4475 §3.1.2.1): respond to the sender
            destination = source
        response = make_response(request, error.status, error.reason, to_tag=self._token())
        self._outbox.append((serialize(response), destination))
        return True

    def _begin(
        self,
        transaction: Transaction,
        now: float,
        *,
        outgoing: bytes = b"",
        event: TransactionEvent | None = None,
    ) -> None:
        self._transactions[transaction.key] = transaction
        if (name := _open_name(transaction.key)) is not None:
            self._open_names[name] += 1
        self._apply(transaction, transaction.machine.initial, now, outgoing, event)

    def _step(
        self,
        transaction: Transaction,
        given: Input,
        now: float,
        *,
        outgoing: bytes = b"",
        event: TransactionEvent | None = None,
    ) -> None:
        transition = transaction.machine.table.get((transaction.state, given))
        if transition is not None:
            self._apply(transaction, transition, now, outgoing, event)

    def _apply(
        self,
        transaction: Transaction,
        transition: Transition,
        now: float,
        outgoing: bytes,
        event: TransactionEvent | None,
    ) -> None:
        for action in transition.actions:
            self._do(action, transaction, outgoing, event)
        transaction.state = transition.state
        if transition.state is State.TERMINATED:
            self._remove(transaction.key)
            self._events.append(TransactionTerminated(transaction.key))
            return
        for deadline, timer in transaction.start_timers(transition, self._values, now):
            heapq.heappush(self._deadlines, (deadline, next(self._deadline_number), transaction.key, timer))
        transaction.settle()

    def _remove(self, key: TransactionKey) -> None:
        del self._transactions[key]
        name = _open_name(key)
        if name is not None:
            self._open_names[name] -= 1
            if not self._open_names[name]:
                del self._open_names[name]

    def _do(
        self, action: Action, transaction: Transaction, outgoing: bytes, event: TransactionEvent | None
    ) -> None:
        if action is Action.SEND:
            self._send(transaction, outgoing)
        elif action is Action.REPEAT:
            self._send(transaction, transaction.last_sent)
        elif action is Action.SEND_TRYING:
            if transaction.request is not None:
                self._send(transaction, serialize(make_response(transaction.request, 100)))
        elif action is Action.SEND_ACK:
            self._outbox.append((transaction.ack, transaction.peer))
        elif action is Action.PASS:
            if event is not None:
                self._events.append(event)
        else:
            self._events.append(_REPORTS[action](transaction.key))

    def _send(self, transaction: Transaction, data: bytes) -> None:
        if data:
            transaction.last_sent = data
            self._outbox.append((data, transaction.peer))

    def _timed(self, deadline: float, _number: int, key: TransactionKey, timer: Timer) -> Transaction | None:
        """Return the transaction whose running timer has this deadline.

        None when the timer was stopped or started again.
        """
        transaction = self._transactions.get(key)
        if transaction is None:
            return None
        running = transaction.timers.get(timer)
        return transaction if running is not None and running[0] == deadline else None


def _open_name(key: TransactionKey) -> str | None:
    """Return what names the transaction before parsing: see `has_invite` and `has_request`."""
    if key.role == "client":
        return f"branch {key.branch}"
    return f"invite {key.call_id}" if key.method == "INVITE" else None


def _response_input(response: SipResponse) -> Input:
    if response.status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if response.status < 300 else Input.FAILURE
