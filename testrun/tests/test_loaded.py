"""Runs on a busy machine: several copies at once, counted, and what failed is kept."""

import os
import re
import subprocess
import sys
from pathlib import Path

TESTRUN = Path(__file__).parents[1]
TESTS = """
def test_it(tmp_path): assert tmp_path.parent.name != "3", "the third run fails"
"""


def test_copies_are_counted_and_the_log_and_the_directory_of_a_failed_one_are_kept(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {**os.environ, "PYTHONPATH": str(TESTRUN), "TMPDIR": str(tmp_path)}
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    command = [sys.executable, str(TESTRUN / "loaded.py"), "--load=2", "--times=4", "--copies=2", "--"]
    done = subprocess.run(
        [*command, "-p", "following.plugin", str(tmp_path / "test_it.py")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert sorted(re.findall(r"^run (\d): (\w+) in \d+ s, load [\d.]+:", done.stdout, re.MULTILINE)) == [
        ("1", "passed"),
        ("2", "passed"),
        ("3", "FAILED"),
        ("4", "passed"),
    ]
    summary = r"^3 of 4 runs passed at a mean load of [\d.]+; logs in (\S+)$"
    (kept,) = re.findall(summary, done.stdout, re.MULTILINE)
    assert sorted(path.name for path in Path(kept).iterdir()) == ["3", "3.log"]
    assert "the third run fails" in (Path(kept) / "3.log").read_text()
