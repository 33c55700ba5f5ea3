"""Errors of calls.

CallsError
├── VersionConflict    someone saved the call in between; `.current` is what Redis holds (None: nothing)
└── IllegalTransition  we misused it: the new state does not follow from the stored one
"""

from sipgw.api.calls.v1.session_pb2 import CallSession, CallState


class CallsError(Exception):
    """Root of the package's errors."""


class VersionConflict(CallsError):
    """A compare-and-set lost. `current` is the record in Redis now; None when there is none."""

    def __init__(self, call_id: str, current: CallSession | None) -> None:
        held = "no record" if current is None else f"version {current.version}"
        super().__init__(f"call {call_id}: Redis holds {held}")
        self.current = current


class IllegalTransition(CallsError):
    """The state machine of calls has no such step."""

    def __init__(self, call_id: str, before: CallState.ValueType, after: CallState.ValueType) -> None:
        super().__init__(
            f"call {call_id}: {CallState.Name(before)} to {CallState.Name(after)} is not a legal transition"
        )
        self.before = before
        self.after = after
