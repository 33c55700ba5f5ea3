"""A port for tests is given to one process of the machine at a time."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipgw.runtime.free_ports import PortLedger, free_port, free_range, give_back

TAKE = """
import sys
from pathlib import Path
from sipgw.runtime.free_ports import PortLedger
ledger = PortLedger(Path(sys.argv[1]))
first, size = int(sys.argv[2]), int(sys.argv[3])
try:
    print(ledger.take(size, range(first, first + size + 1)), flush=True)
except RuntimeError:
    print("none", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ports"


@pytest.fixture
def ledger(file: Path) -> Iterator[PortLedger]:
    ledger = PortLedger(file)
    yield ledger
    ledger.close()


@pytest.fixture
def row() -> Iterator[int]:
    """Return the first of 20 ports that nobody else on this machine uses."""
    first = free_range(20)
    yield first
    give_back(first, 20)


def taken_by_another(file: Path, first: int, size: int) -> str:
    """Return the answer that another process gets when it asks for exactly these ports."""
    command = [sys.executable, "-c", TAKE, str(file), str(first), str(size)]
    return subprocess.run(command, input="", capture_output=True, text=True, check=True).stdout.strip()


def test_what_one_process_has_no_other_gets(ledger: PortLedger, file: Path, row: int) -> None:
    assert ledger.take(10, range(row, row + 11)) == row
    assert taken_by_another(file, row + 8, 4) == "none", "two ports of the four are ours"
    assert taken_by_another(file, row + 10, 4) == str(row + 10)


def test_what_is_given_back_others_get(ledger: PortLedger, file: Path, row: int) -> None:
    ledger.take(10, range(row, row + 11))
    ledger.give_back(row, 10)
    assert taken_by_another(file, row, 10) == str(row)


def test_a_process_that_is_killed_leaves_nothing_behind(ledger: PortLedger, file: Path, row: int) -> None:
    command = [sys.executable, "-c", TAKE, str(file), str(row), "10"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == f"{row}\n".encode()
        with pytest.raises(RuntimeError, match="no 10 free ports"):
            ledger.take(10, range(row, row + 11))
        other.kill()
    assert ledger.take(10, range(row, row + 11)) == row


def test_a_port_is_never_given_twice_by_one_process(ledger: PortLedger, row: int) -> None:
    given = {ledger.take(2, range(row, row + 7)) for _ in range(3)}
    assert given == {row, row + 2, row + 4}
    with pytest.raises(RuntimeError):
        ledger.take(2, range(row, row + 7))


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_that_something_is_bound_to_is_passed_over(
    ledger: PortLedger, row: int, kind: socket.SocketKind
) -> None:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", row + 1))
        assert ledger.take(2, range(row, row + 5)) == row + 2


def test_single_ports_and_ranges_stand_apart() -> None:
    one, many = free_port(), free_range(100)
    assert one < 13_000 <= many
    assert many % 2 == 0
    give_back(one, 1)
    give_back(many, 100)
