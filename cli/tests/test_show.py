import io
import time

import pytest
from rich.console import Console

from sipgw.api.calls.v1.session_pb2 import (
    CALL_STATE_ANSWERED,
    CALL_STATE_ENDED,
    CALL_STATE_ESTABLISHED,
    END_CAUSE_CALLER_HANGUP,
    ProcessIdentity,
)
from sipgw.api.registry.v1.registry_pb2 import CallSummary
from sipgw.cli.calls_view import line_of, table_of
from sipgw.cli.show import Lines

ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


def call(state: int, **fields: object) -> CallSummary:
    summary = CallSummary(
        call_id="0a1b",
        state=state,
        to="echo",
        route="default",
        owner=ProcessIdentity(name="edge-1"),
        relay=ProcessIdentity(name="relay-0"),
        **fields,
    )
    setattr(summary, "from", "alice")
    return summary


ENDED = call(CALL_STATE_ENDED, answered_ms=1000, ended_ms=66_000, end_cause=END_CAUSE_CALLER_HANGUP)


def test_a_line_tells_who_what_and_how_it_ended() -> None:
    assert (
        line_of(ENDED)
        == "call 0a1b ended (caller hangup) alice -> echo time=1:05 route=default edge=edge-1 relay=relay-0"
    )


def test_lines_tell_each_state_once(capsys: pytest.CaptureFixture[str]) -> None:
    show = Lines(line_of)
    long_over = call(CALL_STATE_ENDED)
    long_over.call_id = "ffff"
    show.changed([call(CALL_STATE_ANSWERED), long_over], is_snapshot=True)
    show.changed([call(CALL_STATE_ANSWERED), call(CALL_STATE_ESTABLISHED)], is_snapshot=False)
    show.pressed("0a1b", "7")
    show.changed([ENDED], is_snapshot=False)
    states = [line.split()[2] for line in capsys.readouterr().out.splitlines()]
    assert states == ["answered", "established", "digit", "ended"]


def test_the_table_has_a_row_for_each_call_and_its_digits() -> None:
    out = io.StringIO()
    console = Console(file=out, width=160)
    console.print(table_of([call(CALL_STATE_ESTABLISHED, answered_ms=1)], {"0a1b": "159"}))
    text = out.getvalue()
    for word in ("0a1b", "alice", "echo", "established", "relay-0", "159"):
        assert word in text


def test_the_table_fits_80_columns_with_digits_that_hangup_takes() -> None:
    one = call(CALL_STATE_ESTABLISHED, answered_ms=time.time_ns() // 1_000_000)
    one.call_id = ID
    out = io.StringIO()
    Console(file=out, width=80).print(table_of([one], {ID: "159"}))
    for word in (ID[:8], "alice", "echo", "established", "default", "relay-0", "159"):
        assert word in out.getvalue()
    assert ID not in out.getvalue()
    out = io.StringIO()
    Console(file=out, width=80).print(table_of([one]))
    for word in (ID[:8], "established", "edge-1", "relay-0"):
        assert word in out.getvalue()


def test_what_a_caller_calls_itself_is_neither_markup_nor_terminal_commands() -> None:
    one = call(CALL_STATE_ESTABLISHED, answered_ms=1)
    setattr(one, "from", "[/x]\x1b]0;owned\x07")
    out = io.StringIO()
    Console(file=out, width=160).print(table_of([one]))
    for text in (out.getvalue(), line_of(one)):
        assert "[/x]?]0;owned?" in text
        assert "\x1b]" not in text
