"""One live transaction: its machine, its state, its last message, and its running timers."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sipgw.sip.message import SipRequest
from sipgw.sip.routing import Address
from sipgw.sip.timers import Timer, TimerValues
from sipgw.sip.transactions import invite_client, invite_server, non_invite_client, non_invite_server
from sipgw.sip.transactions.keys import TransactionKey
from sipgw.sip.transactions.states import Backoff, Input, State, Table, Transition


class Machine(NamedTuple):
    """A state machine: its table and the transition that creates a transaction."""

    table: Table
    initial: Transition


INVITE_SERVER: Final = Machine(invite_server.TABLE, invite_server.INITIAL)
NON_INVITE_SERVER: Final = Machine(non_invite_server.TABLE, non_invite_server.INITIAL)
INVITE_CLIENT: Final = Machine(invite_client.TABLE, invite_client.INITIAL)
NON_INVITE_CLIENT: Final = Machine(non_invite_client.TABLE, non_invite_client.INITIAL)

TIMER_INPUTS: Final = {timer: Input[f"TIMER_{timer.name}"] for timer in Timer}


def _no_timers() -> dict[Timer, tuple[float, float]]:
    return {}


@dataclass(slots=True, eq=False)
class Transaction:
    """`peer` is where its messages go; `timers` maps each running timer to (deadline, interval).

    `request` is dropped once it is no longer needed: a settled transaction waits half a minute for stray
    copies.
    """

    key: TransactionKey
    machine: Machine
    request: SipRequest | None
    peer: Address
    state: State = State.TERMINATED
    last_sent: bytes = b""
    ack: bytes = b""
    timers: dict[Timer, tuple[float, float]] = field(default_factory=_no_timers)

    def start_timers(
        self, transition: Transition, values: TimerValues, now: float
    ) -> list[tuple[float, Timer]]:
        """Stop, start and repeat timers as `transition` says; return the new deadlines."""
        is_reliable = self.peer.is_reliable
        for timer in transition.stop:
            self.timers.pop(timer, None)
        begun = [
            (timer, values.first_interval(timer, is_reliable=is_reliable))
            for timer in transition.start
            if not (is_reliable and timer in _UNRELIABLE_ONLY)
        ]
        if transition.again is not None:
            timer, backoff = transition.again
            begun.append((timer, _next_interval(self.timers[timer][1], backoff, values)))
        for timer, interval in begun:
            self.timers[timer] = (now + interval, interval)
        return [(now + interval, timer) for timer, interval in begun]

    def settle(self) -> None:
        """Drop the request when there is a final response."""
        if self.state in _SETTLED:
            self.request = None


_SETTLED = frozenset({State.COMPLETED, State.CONFIRMED, State.ACCEPTED})
_UNRELIABLE_ONLY = frozenset({Timer.A, Timer.E, Timer.G})
"""The transport retransmits over TCP and TLS (RFC 3261 §17.1.1.2, §17.1.2.2, §17.2.1)."""


def _next_interval(interval: float, backoff: Backoff, values: TimerValues) -> float:
    if backoff is Backoff.T2:
        return values.t2_s
    if backoff is Backoff.DOUBLE:
        return interval * 2
    return min(interval * 2, values.t2_s)
