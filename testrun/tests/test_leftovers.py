"""A failed test's leftovers."""

import os
import re
import subprocess
import sys
from pathlib import Path

PLUGIN = Path(__file__).parents[1]
TESTS = """
import gc
import socket

class Ring:
    def __init__(self):
        self.me, self.sockets = self, [socket.socket() for _ in range(5)]

def test_leaves_sockets_open():
    ring = Ring()
    assert not ring

def test_another_that_collects_garbage():
    gc.collect()
"""


def run(directory: Path, *plugins: str) -> str:
    (directory / "test_it.py").write_text(TESTS)
    (directory / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    environment = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", *plugins]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True).stdout


def test_they_are_not_laid_at_the_next_tests_door(tmp_path: Path) -> None:
    assert re.search(r"^2 failed in", run(tmp_path), re.MULTILINE), "so it is without the plugin"
    assert re.search(r"^1 failed, 1 passed in", run(tmp_path, "-p", "following.leftovers"), re.MULTILINE)
