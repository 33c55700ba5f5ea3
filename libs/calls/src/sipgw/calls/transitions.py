"""The states of a call and the steps between them, as data. Keeping the state is always legal."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sipgw.api.calls.v1.session_pb2 import (
    CALL_STATE_ANSWERED,
    CALL_STATE_ENDED,
    CALL_STATE_ENDING,
    CALL_STATE_ESTABLISHED,
    CALL_STATE_INVITED,
    CALL_STATE_PLACED,
    CALL_STATE_RINGING,
    CallState,
)

_END: Final = frozenset({CALL_STATE_ENDING, CALL_STATE_ENDED})

LEGAL_TRANSITIONS: Final[Mapping[CallState.ValueType, frozenset[CallState.ValueType]]] = MappingProxyType(
    {
        CALL_STATE_INVITED: _END | {CALL_STATE_PLACED},
        # Answered at once, no 180 before it.
        CALL_STATE_PLACED: _END | {CALL_STATE_RINGING, CALL_STATE_ANSWERED},
        # Placed again: the relay refused or was lost before the answer.
        CALL_STATE_RINGING: _END | {CALL_STATE_PLACED, CALL_STATE_ANSWERED},
        CALL_STATE_ANSWERED: _END | {CALL_STATE_ESTABLISHED},
        CALL_STATE_ESTABLISHED: _END,
        CALL_STATE_ENDING: frozenset({CALL_STATE_ENDED}),
        CALL_STATE_ENDED: frozenset(),
    }
)


def is_legal(before: CallState.ValueType, after: CallState.ValueType) -> bool:
    """Return whether a saved call may go from `before` to `after`."""
    return before == after or after in LEGAL_TRANSITIONS.get(before, frozenset())


def states_before(after: CallState.ValueType) -> frozenset[CallState.ValueType]:
    """Return the states from which `after` may be saved, including itself."""
    return frozenset(before for before in LEGAL_TRANSITIONS if is_legal(before, after))
