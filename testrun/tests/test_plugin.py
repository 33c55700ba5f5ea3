"""A followed run prints its progress, in one process and in two."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1]
TESTS = """
import time
import pytest

@pytest.mark.parametrize("n", range(3))
def test_quick(n): pass

def test_slow(): time.sleep(1.6)

def test_wrong(): assert 1 == 2, "one is not two"

@pytest.fixture
def broken(): raise OSError("no such thing")

def test_unprepared(broken): pass

@pytest.mark.skip(reason="not here")
def test_skipped(): pass
"""
LINE = re.compile(r"^\[ *(\d+)%\] (\w+) +([\d.]+) s  test_it\.py::(\S+)(?:  (.*))?$", re.MULTILINE)


def follow(directory: Path, *options: str) -> str:
    (directory / "test_it.py").write_text(TESTS)
    (directory / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "following.plugin", "--follow", *options]
    environment = {**os.environ, "PYTHONPATH": str(PLUGIN), "COLUMNS": "200"}
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True).stdout


@pytest.mark.parametrize("processes", [1, 2])
def test_every_test_is_named_once_at_its_end_and_a_slow_one_also_while_it_runs(
    tmp_path: Path, processes: int
) -> None:
    output = follow(tmp_path, *(["-n", str(processes)] if processes > 1 else []))
    assert f"for 7 tests in {processes} process" in output.partition("passed")[0]
    named = [(match[2], match[4]) for match in LINE.finditer(output)]
    assert sorted(named) == [
        ("failed", "test_unprepared"),
        ("failed", "test_wrong"),
        ("passed", "test_quick[0]"),
        ("passed", "test_quick[1]"),
        ("passed", "test_quick[2]"),
        ("passed", "test_slow"),
        ("running", "test_slow"),
        ("skipped", "test_skipped"),
    ]
    assert named.index(("running", "test_slow")) < named.index(("passed", "test_slow"))
    reasons = {match[4]: match[5] for match in LINE.finditer(output) if match[2] == "failed"}
    assert "one is not two" in reasons["test_wrong"]
    assert reasons["test_unprepared"] == "OSError: no such thing"
    assert [match[1] for match in LINE.finditer(output)][-1] == "100"
    assert re.search(r"1 failed, 4 passed, 1 skipped, 1 error in", output)
    assert not re.search(r"^[.FEs]{2,}", output, re.MULTILINE), "no dots beside the lines"


def test_the_next_run_knows_what_the_tests_took(tmp_path: Path) -> None:
    assert "; 0 of them by what they took on this machine before" in follow(tmp_path, "-k", "quick")
    assert "; 3 of them by what they took on this machine before" in follow(tmp_path, "-k", "quick")


def test_a_process_that_dies_is_told_with_the_test_that_it_ran(tmp_path: Path) -> None:
    (tmp_path / "test_dying.py").write_text("import os\n\ndef test_dies(): os._exit(9)\n")
    output = follow(tmp_path, "-n", "2", "test_dying.py")
    assert re.search(r"^\[100%\] failed .* test_dying\.py::test_dies  .*crashed", output, re.MULTILINE), (
        output
    )
