import pytest
from rich.console import Console

from sipgw.api.registry.v1.registry_pb2 import Ban, LiftBanResponse, ListBansResponse
from sipgw.cli import bans
from sipgw.cli.bans import table_of

BAN = Ban(
    source="203.0.113.7",
    reason="more than 30 in 2 s, the last: INVITE",
    since_ms=1_000,
    until_ms=61_000,
    refused=500,
    edge="edge-0",
)


def test_the_table_shows_who_why_until_when_and_where() -> None:
    console = Console(width=140, record=True)
    console.print(table_of([BAN]))
    shown = console.export_text()
    for part in ("203.0.113.7", "more than 30 in 2 s, the last: INVITE", "500", "edge-0", ":01", "refused"):
        assert part in shown


def test_no_bans_are_said_to_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    bans._show(ListBansResponse(), as_json=False)
    assert capsys.readouterr().out == "no bans\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_an_edge_that_does_not_answer_is_named_and_is_a_failure(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as failure:
        bans._show(ListBansResponse(bans=[BAN], silent_edges=["edge-1"]), as_json=as_json)
    assert failure.value.code == 1
    said = capsys.readouterr()
    assert "203.0.113.7" in said.out
    assert "no answer from edge-1" in said.err


def test_what_was_lifted_is_said_and_what_was_not_banned_is_a_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bans._tell_lifted("203.0.113.7", LiftBanResponse(edges=["edge-0", "edge-1"]))
    assert "203.0.113.7 may send again (edge-0, edge-1)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        bans._tell_lifted("203.0.113.7", None)
    assert "no ban on 203.0.113.7; `sipgw bans` lists them" in capsys.readouterr().err
