"""Make the call record (CDR) of an ended call, and the root span of its trace.

A record names caller and called number, which billing and complaints need, and nothing else about people: no
display name, no network address, no key pressed (people type PINs), no speech, no header. `Numbers` can
remove even the two numbers.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.calls import EndedCall
from sipgw.runtime.telemetry.traces import RootSpan, TraceIds

_SHOWN_DIGITS: Final = 3
_FAILURES: Final = frozenset(
    {
        calls.END_CAUSE_BOT_LOST,
        calls.END_CAUSE_BOT_SILENT,
        calls.END_CAUSE_NO_ACK,
        calls.END_CAUSE_MEDIA_TIMEOUT,
        calls.END_CAUSE_RELAY_LOST,
        calls.END_CAUSE_LOST,
    }
)
"""Ends for which the gateway, the bot or the network is to blame; a refusal is one if its status says so."""


class Numbers(StrEnum):
    """How much of the caller's and the called number a record shows."""

    FULL = "full"
    MASKED = "masked"
    NONE = "none"


def call_record(end: EndedCall, numbers: Numbers) -> dict[str, object]:
    """Return the fields of the log line `call_record`; times are UTC by Redis' clock, None for no event."""
    session = end.session
    ended_ms = ended_ms_of(end)
    return {
        "call_id": session.call_id,
        "trace_id": session.trace.trace_id,
        "from": _shown(session.from_display, numbers),
        "to": _shown(session.to_display, numbers),
        "trunk": session.trunk or None,
        "route": session.route or None,
        "bot": session.bot.endpoint or None,
        "bot_address": session.bot.address or None,
        "relay": session.media.relay.name or None,
        "edge": session.owner.name or None,
        "created": _time(session.created_ms),
        "answered": _time(session.answered_ms),
        "ended": _time(ended_ms),
        "duration_ms": max(ended_ms - session.answered_ms, 0) if session.answered_ms else 0,
        "cause": cause_name(session.end_cause),
        # Only the gateway's own texts: a bot's may say anything about the caller.
        "reason": session.end_reason or None if session.end_cause == calls.END_CAUSE_REJECTED else None,
        "status": session.sip_status or None,
    }


def root_span(end: EndedCall) -> RootSpan:
    """Return the span of the whole call, under the ids fixed at its INVITE."""
    session = end.session
    attributes: dict[str, str | bool | int | float] = {
        "sipgw.call_id": session.call_id,
        "sipgw.route": session.route,
        "sipgw.trunk": session.trunk,
        "sipgw.relay": session.media.relay.name,
        "sipgw.end_cause": cause_name(session.end_cause),
        "sip.status": session.sip_status,
    }
    has_failed = session.end_cause in _FAILURES or session.sip_status >= 500
    return RootSpan(
        trace_of(end),
        "call",
        session.created_ms * 1_000_000,
        ended_ms_of(end) * 1_000_000,
        attributes,
        error=(session.end_reason or cause_name(session.end_cause)) if has_failed else None,
    )


def trace_of(end: EndedCall) -> TraceIds:
    """Return the root span's ids."""
    trace = end.session.trace
    return TraceIds(trace.trace_id, trace.root_span_id, trace.sampled)


def ended_ms_of(end: EndedCall) -> int:
    """Return when the call ended: by the record, or when Redis learned of it if Redis was away."""
    return end.session.ended_ms or int(end.entry_id.partition("-")[0])


def cause_name(cause: int) -> str:
    """Return the cause as people read it: `caller_hangup`."""
    return calls.EndCause.Name(calls.EndCause.ValueType(cause)).removeprefix("END_CAUSE_").lower()


def _shown(number: str, numbers: Numbers) -> str | None:
    if numbers is Numbers.NONE or not number:
        return None
    if numbers is Numbers.MASKED:
        return "*" * max(len(number) - _SHOWN_DIGITS, _SHOWN_DIGITS) + number[_SHOWN_DIGITS:][-_SHOWN_DIGITS:]
    return number


def _time(unix_ms: int) -> str | None:
    if not unix_ms:
        return None
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds")
