"""Run tests again and again on a busy machine.

It starts processes that only compute until the wanted load is reached, counts the passes and the failures,
and prints the load. The output of each failed run is kept.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

_BUSY = [sys.executable, "-c", "while True: pass"]
_PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--follow"]


@contextlib.contextmanager
def busy(processes: int) -> Generator[None]:
    """Keep that many processes computing, and end them whatever happens."""
    started = [subprocess.Popen(_BUSY) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def wanting_to_run() -> int:
    """Return how many processes the machine has to serve, by the load of the last minute."""
    return round(os.getloadavg()[0])


def run(number: int, arguments: list[str], logs: Path) -> bool:
    """Run the tests once; keep the log only if they failed."""
    log = logs / f"run-{number}.log"
    began, load = time.monotonic(), os.getloadavg()[0]
    with log.open("wb") as output:
        status = subprocess.run([*_PYTEST, *arguments], stdout=output, stderr=output, check=False).returncode
    words = log.read_text(errors="replace").strip().splitlines()
    seconds = time.monotonic() - began
    print(
        f"run {number}: {'passed' if status == 0 else 'FAILED'} in {seconds:.0f} s, "
        f"load {load:.1f} to {os.getloadavg()[0]:.1f}: {words[-1] if words else ''}",
        flush=True,
    )
    if status == 0:
        log.unlink()
    return status == 0


def main() -> int:
    """Return 0 when every run passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--load", type=int, default=10, help="processes that want to run at any time")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("arguments", nargs="*", metavar="-- PYTEST_ARGUMENT")
    options = parser.parse_args()
    logs = Path(tempfile.mkdtemp(prefix="sipgw-loaded-"))
    passed = 0
    for number in range(1, options.times + 1):
        with busy(max(0, options.load - wanting_to_run())):
            passed += run(number, options.arguments, logs)
    print(
        f"{passed} of {options.times} runs passed" + ("" if passed == options.times else f"; logs in {logs}")
    )
    return 0 if passed == options.times else 1


if __name__ == "__main__":
    sys.exit(main())
