"""`make sim` in small: under a day of bursts nobody is refused or dropped, for about the cost of an HPA."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SIM = ROOT / "bench" / "sim.py"


def test_a_small_day_refuses_and_drops_nobody_for_a_fifth_more_relays_at_most(tmp_path: Path) -> None:
    flags = ["--peak", "3000", "--capacity", "100", "--most", "120", "--out", str(tmp_path)]
    rows = play(*flags)
    ours, waits = rows["sipgw operator"], rows["HPA-like, waits for calls to end"]
    refused, dropped, hours = number(ours[1]), number(ours[3]), number(ours[5])
    assert (refused, dropped) == (0, 0)
    assert number(waits[1]) > 0
    assert hours < 1.2 * number(waits[5])
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


def test_the_day_of_the_how_to_goes_as_it_shows(tmp_path: Path) -> None:
    how_to = (ROOT / "docs" / "how-to" / "scale.md").read_text()
    command = re.search(r'make sim ARGS="(.*)"', how_to)
    assert command is not None
    assert number(play(*command[1].split(), "--out", str(tmp_path))["sipgw operator"][1]) == 0


def play(*flags: str) -> dict[str, list[str]]:
    """Return the table's rows, by their rule."""
    ended = subprocess.run(
        [sys.executable, str(SIM), *flags], capture_output=True, text=True, timeout=250, check=True
    )
    return {row[0]: row[1:] for row in map(cells, ended.stdout.splitlines()) if len(row) == 9}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def number(cell: str) -> int:
    found = re.match(r"[\d,]+", cell)
    assert found is not None
    return int(found[0].replace(",", ""))
