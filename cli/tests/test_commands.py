import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sipgw.cli.main import app

runner = CliRunner()


@pytest.fixture(autouse=True)
def nothing_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SIPGW_REGISTRY", raising=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["calls"], "no gateway runs here; start one with `sipgw up`"),
        (["hangup", "0a1b"], "no gateway runs here"),
        (["relays"], "no gateway runs here"),
        (["drain", "relay-0"], "no gateway runs here"),
        (["bans"], "no gateway runs here"),
        (["up", "--trust", "10.0.0.1/8"], "--trust 10.0.0.1/8: 10.0.0.1/8 has host bits set"),
        (["call", "tel:+491234"], "tel:+491234 is not a sip: URI"),
        (["call", "sip:x@127.0.0.1;transport=tcp"], "only UDP is supported"),
        (["call", "sip:x@127.0.0.1", "--wav", "/no/such.wav"], "/no/such.wav"),
        (["up", "--rtp-ports", "1-2"], "need 1024 <= LOW < HIGH <= 65535"),
        (["up", "--relays", "9"], "--relays 9: from 1 to 8"),
        (["up", "-f", "/no/such.yaml"], "/no/such.yaml"),
    ],
)
def test_misuse_is_told_in_a_line_with_status_2(arguments: list[str], words: str) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_registry_that_is_away_is_told_with_status_1() -> None:
    result = runner.invoke(app, ["calls", "--registry", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert "registry 127.0.0.1:1" in result.output


def test_help_names_every_option_of_up() -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", runner.invoke(app, ["up", "--help"], env={"COLUMNS": "200"}).output)
    for option in (
        *("--file", "-f", "--sip-port", "--rtp-ports", "--advertise", "--bot", "--relays", "--edges"),
        *("--redis", "--no-recording", "--recordings", "--trust"),
    ):
        assert option in shown
    for default in ("5060", "20000-22399 for each relay", "that of the default route", "a built-in echo"):
        assert f"(default: {default})" in shown
