"""Errors of this package.

EdgeError
├── Rejected        the peer's request gets this final response: status, reason, headers
├── CallOver        the record no longer allows the step: the call has ended, or another edge owns it
├── NotTaken        a relay does not take the call: it refused a command, or did not respond
└── RecordMissing   there is no record with this call id
"""

from sipgw.api.calls.v1 import session_pb2 as calls


class EdgeError(Exception):
    """Root of this package's errors."""


class Rejected(EdgeError):
    """A request that gets a final response other than 2xx, which has `headers`.

    `detail` tells the log and the call's record what does not fit into `reason`.
    """

    def __init__(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        detail: str = "",
    ) -> None:
        super().__init__(f"{status} {detail or reason or ''}".strip())
        self.status = status
        self.reason = reason
        self.headers = headers
        self.detail = detail or reason or ""


class CallOver(EdgeError):
    """The step came too late; `record` is the record as it stands, None when it is gone."""

    def __init__(self, call_id: str, record: calls.CallSession | None) -> None:
        super().__init__(call_id)
        self.call_id = call_id
        self.record = record


class NotTaken(EdgeError):
    """A relay does not take the call of `record`.

    `status` is that of its refusal; None: it did not respond.
    """

    def __init__(self, record: calls.CallSession, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.record = record
        self.reason = reason
        self.status = status


class RecordMissing(EdgeError):
    """Neither Redis nor this edge has the record."""
