"""A call as lists show it, made from its record."""

from sipgw.api.calls.v1.session_pb2 import CallSession
from sipgw.api.registry.v1.registry_pb2 import CallSummary


def summary_of(session: CallSession) -> CallSummary:
    """Make the summary from a record, or from a stream's shortened one."""
    return CallSummary(
        call_id=session.call_id,
        version=session.version,
        state=session.state,
        to=session.to_display,
        trunk=session.trunk,
        route=session.route,
        bot_endpoint=session.bot.endpoint,
        owner=session.owner,
        relay=session.media.relay if session.media.HasField("relay") else None,
        created_ms=session.created_ms,
        answered_ms=session.answered_ms,
        ended_ms=session.ended_ms,
        end_cause=session.end_cause,
        end_reason=session.end_reason,
        sip_call_id=session.legs[0].dialog.sip_call_id if session.legs else "",
        trace_id=session.trace.trace_id,
        **{"from": session.from_display},  # a keyword of Python
    )
