"""Errors of this package.

EdgeError ├── Rejected        the peer's request gets this final answer: status, reason, headers ├──
CallOver        the call's record no longer allows the step: somebody ended it, or another edge owns it now
└── RecordMissing   no record under this call id
"""

from sipgw.api.calls.v1 import session_pb2 as calls


class EdgeError(Exception):
    """Root of this package's errors."""


class Rejected(EdgeError):  # noqa: N818 - a past-tense outcome reads better where it is caught
    """A request that gets a final answer other than 2xx. `headers` go into it; `detail` says in the log and
    in the call's record what `reason` has no room for.
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


class CallOver(EdgeError):  # noqa: N818
    """The step came too late; `session` is the record as it stands, None when it is gone."""

    def __init__(self, call_id: str, session: calls.CallSession | None) -> None:
        super().__init__(call_id)
        self.call_id = call_id
        self.session = session


class RecordMissing(EdgeError):  # noqa: N818
    """No record, neither in Redis nor here."""
