"""The shape of a transaction state machine: a frozen table (state, input) → transition.

The table has every pair. A pair that a figure of RFC 3261 does not draw leaves the state as it is and does
nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import product
from types import MappingProxyType
from typing import TypeAlias

from sipgw.sip.timers import Timer


class State(Enum):
    """The states of all four machines, by their names in the figures."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    ACCEPTED = auto()
    TERMINATED = auto()


class Input(Enum):
    """Inputs of a transaction: from the wire, from its user, from the clock."""

    REQUEST = auto()
    """A copy of the request."""
    ACK = auto()
    PROVISIONAL = auto()
    """1xx, received by a client or given by the user of a server."""
    SUCCESS = auto()
    """2xx."""
    FAILURE = auto()
    """300-699."""
    TRANSPORT_ERROR = auto()
    TIMER_A = auto()
    TIMER_B = auto()
    TIMER_D = auto()
    TIMER_E = auto()
    TIMER_F = auto()
    TIMER_G = auto()
    TIMER_H = auto()
    TIMER_I = auto()
    TIMER_J = auto()
    TIMER_K = auto()
    TIMER_L = auto()
    TIMER_M = auto()
    TIMER_TRYING = auto()


class Action(Enum):
    """Actions of a transition besides the change of state."""

    SEND = auto()
    """Send the message that the input carries, and keep it for repetition."""
    REPEAT = auto()
    """Send the last message again."""
    SEND_TRYING = auto()
    """Send a 100."""
    SEND_ACK = auto()
    """Send the ACK of a failure."""
    PASS = auto()
    """Pass the message to the transaction user."""
    REPORT_ACK = auto()
    REPORT_TIMEOUT = auto()
    REPORT_TRANSPORT_ERROR = auto()


class Backoff(Enum):
    """How the next interval of a repeating timer follows from the one that ran out."""

    DOUBLE = auto()
    DOUBLE_UP_TO_T2 = auto()
    T2 = auto()


@dataclass(frozen=True, slots=True)
class Transition:
    """The next state, the actions in order, and the timers to start afresh, to stop and to repeat."""

    state: State
    actions: tuple[Action, ...] = ()
    start: tuple[Timer, ...] = ()
    stop: tuple[Timer, ...] = ()
    again: tuple[Timer, Backoff] | None = None


Table: TypeAlias = "Mapping[tuple[State, Input], Transition]"


def make_table(
    states: Iterable[State], inputs: Iterable[Input], drawn: Mapping[tuple[State, Input], Transition]
) -> Table:
    """Return the frozen table with the `drawn` transitions and, for every other pair, none."""
    table = {(state, given): Transition(state) for state, given in product(states, inputs)}
    if not drawn.keys() <= table.keys():
        raise ValueError("a transition of a state or input that the machine does not have")
    return MappingProxyType(table | dict(drawn))
