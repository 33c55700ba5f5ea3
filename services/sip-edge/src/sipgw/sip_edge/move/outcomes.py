"""Report the outcome of a move as a metric and as a span of the call's trace."""

import time

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.runtime.telemetry.metrics import observe
from sipgw.runtime.telemetry.traces import record_span
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.record.moving import cause_name


def note_done(live: LiveCall, record: calls.CallSession, outcome: str, now_ms: int) -> None:
    """Count a move; `record` is the record as it was before the move was removed from it."""
    cause = cause_name(record)
    metrics.MOVES.labels(cause, outcome).inc()
    if not record.HasField("move"):
        return
    took_ms = now_ms - record.move.began_ms
    if outcome == "moved":
        observe(metrics.MOVE_SECONDS.labels(cause), took_ms / 1000, live.trace)
    now_ns = time.time_ns()
    attributes = {
        "sipgw.move.cause": cause,
        "sipgw.move.outcome": outcome,
        "sipgw.move.from": (record.move.left if outcome == "moved" else record.media).relay.name,
        "sipgw.move.to": record.move.target.relay.name,
    }
    record_span("re-anchor", live.trace, now_ns - took_ms * 1_000_000, now_ns, attributes)
