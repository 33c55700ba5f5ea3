from pathlib import Path

import pytest

from sipgw.local.service_log import ServiceLog, parse_line


def test_lines_are_read_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "edge-0.log"
    path.write_text("of an earlier run\n")
    log = ServiceLog(path)
    with path.open("a") as writer:
        writer.write('{"event": "ready", "level": "info", "sip": "127.0.0.1:5060"}\nhalf')
        writer.flush()
        (line,) = log.read_new()
        assert line.event == "ready"
        assert line.words() == "ready sip=127.0.0.1:5060"
        writer.write(" a line\n")
    assert [line.text for line in log.read_new()] == ["half a line"]
    assert log.read_new() == []


def test_the_last_words_are_the_last_error_or_plain_line(tmp_path: Path) -> None:
    log = ServiceLog(tmp_path / "x.log")
    assert log.last_words() == "it said nothing"
    log.path.write_text(
        '{"event": "crashed", "level": "error", "cause": "disk full"}\n'
        '{"event": "stopping", "level": "info"}\n'
    )
    log.read_new()
    assert log.last_words() == "crashed cause=disk full"


def test_what_is_no_json_object_is_text() -> None:
    for text in ("plain", "{broken", "[1]"):
        assert parse_line(text).record is None
    assert parse_line("plain").words() == "plain"


def test_a_log_that_grows_too_long_is_rolled_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipgw.local.service_log._ROLL_BYTES", 100)
    log = ServiceLog(tmp_path / "relay-0.log")
    with log.path.open("a") as writer:
        writer.write("x" * 120 + "\n")
        writer.flush()
        assert len(log.read_new()) == 1
        writer.write("after\n")
    assert [line.text for line in log.read_new()] == ["after"]
    assert log.path.read_text() == "after\n"
    assert (tmp_path / "relay-0.old.log").stat().st_size == 121
