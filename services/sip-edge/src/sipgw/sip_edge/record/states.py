"""Sets of call states, and the names of states and causes as logs print them.

`sipgw.calls` has the table of which state may follow which.
"""

from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls

UNANSWERED: Final = frozenset({calls.CALL_STATE_INVITED, calls.CALL_STATE_PLACED, calls.CALL_STATE_RINGING})
"""The caller's INVITE has no final response yet."""
ANSWERED: Final = frozenset({calls.CALL_STATE_ANSWERED, calls.CALL_STATE_ESTABLISHED})
"""The 200 is saved, and no end."""
HAS_SESSION: Final = ANSWERED | {calls.CALL_STATE_RINGING}
"""A relay has the call's session, and no end is saved."""
OVER: Final = frozenset({calls.CALL_STATE_ENDING, calls.CALL_STATE_ENDED})
"""The end is saved."""


def state_name(state: calls.CallState.ValueType) -> str:
    """Print a state of a call, like `ringing`."""
    return _printed(calls.CallState.Name(state), "CALL_STATE_")


def end_cause_name(cause: calls.EndCause.ValueType) -> str:
    """Print the cause of a call's end, like `caller_hangup`."""
    return _printed(calls.EndCause.Name(cause), "END_CAUSE_")


def move_cause_name(cause: calls.MoveCause.ValueType) -> str:
    """Print the cause of a move, `relay_lost` or `drain`."""
    return _printed(calls.MoveCause.Name(cause), "MOVE_CAUSE_")


def _printed(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()
