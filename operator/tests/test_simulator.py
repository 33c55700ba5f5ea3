"""`make sim` in small: under a day of bursts nobody is refused or dropped, for about the cost of an HPA."""

import re
import subprocess
import sys
from pathlib import Path

SIM = Path(__file__).parents[2] / "bench" / "sim.py"


def test_a_small_day_refuses_and_drops_nobody_for_a_fifth_more_relays_at_most(tmp_path: Path) -> None:
    flags = ["--peak", "3000", "--capacity", "100", "--most", "120", "--out", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, str(SIM), *flags], capture_output=True, text=True, timeout=55, check=True
    )
    rows = {row[0]: row[1:] for row in map(cells, ended.stdout.splitlines()) if len(row) == 9}
    ours, waits = rows["sipgw operator"], rows["HPA-like, waits for calls to end"]
    refused, dropped, hours = number(ours[1]), number(ours[3]), number(ours[5])
    assert (refused, dropped) == (0, 0)
    assert number(waits[1]) > 0
    assert hours < 1.2 * number(waits[5])
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def number(cell: str) -> int:
    found = re.match(r"[\d,]+", cell)
    assert found is not None
    return int(found[0].replace(",", ""))
