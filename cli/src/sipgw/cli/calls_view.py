"""Calls as people read them: a table for a terminal, lines for everything else."""

import time
from collections.abc import Iterable, Mapping

from rich.table import Table
from rich.text import Text

from sipgw.api.calls.v1.session_pb2 import CallState, EndCause
from sipgw.api.registry.v1.registry_pb2 import CallSummary

_ENDED = CallState.CALL_STATE_ENDED
_SHORT_ID = 8
"""Digits of a call id in a table: enough for `sipgw hangup`, and 80 columns have room for the rest."""


def state_of(call: CallSummary) -> str:
    """Return the state as people read it: `established`, `ended (caller hangup)`."""
    word = CallState.Name(call.state).removeprefix("CALL_STATE_").lower()
    if call.state == _ENDED and call.end_cause:
        word += f" ({cause_of(call)})"
    return word


def cause_of(call: CallSummary) -> str:
    """Return why a call ended, in words."""
    words = EndCause.Name(call.end_cause).removeprefix("END_CAUSE_").lower().replace("_", " ")
    return f"{words}: {call.end_reason}" if call.end_reason else words


def printable(text: str) -> str:
    """Return a caller's text without characters that control a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def has_ended(call: CallSummary) -> bool:
    """Return whether the call is over."""
    return call.state == _ENDED


def length_of(call: CallSummary) -> str:
    """Return m:ss since the answer; a dash before it."""
    if not call.answered_ms:
        return "-"
    until_ms = call.ended_ms or int(time.time() * 1000)
    minutes, seconds = divmod(max(0, until_ms - call.answered_ms) // 1000, 60)
    return f"{minutes}:{seconds:02d}"


def table_of(
    calls: Iterable[CallSummary], digits: Mapping[str, str] | None = None, *, title: str = ""
) -> Table:
    """Return a table with one row per call, oldest first.

    `digits` are those heard so far, by call id; in 80 columns they replace the edge.
    """
    table = Table(title=title or None, title_justify="left", expand=False)
    heard = digits or {}
    last = ("relay", "digits") if heard else ("edge", "relay")
    for heading in ("call", "from", "to", "state", "time", "route", *last):
        table.add_column(heading, no_wrap=heading in {"call", "time"})
    for call in sorted(calls, key=lambda call: call.created_ms):
        row = [
            call.call_id[:_SHORT_ID],
            getattr(call, "from"),
            call.to,
            state_of(call),
            length_of(call),
            call.route,
        ]
        row += [call.relay.name, heard.get(call.call_id, "")] if heard else [call.owner.name, call.relay.name]
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def line_of(call: CallSummary) -> str:
    """Return one line for a change, for logs and pipes."""
    parties = f"{printable(getattr(call, 'from'))} -> {printable(call.to)}"
    place = f" route={call.route} edge={call.owner.name} relay={call.relay.name}" if call.route else ""
    return f"call {call.call_id} {state_of(call)} {parties} time={length_of(call)}{place}"
