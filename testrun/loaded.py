"""Run tests again and again on a busy machine, several copies side by side if wanted.

Processes that only compute are started and ended so that the wanted number of processes run or want to run
at any time, those of the tests included. Each copy has a temporary directory of its own. The passes and
the failures are counted, and the log and the directory of each failed run are kept.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

_BUSY = [sys.executable, "-c", "while True: pass"]
_PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--follow"]
_LOOK_S = 0.5
_LOOKS = 10


class Load:
    """A load that is kept in a thread while the context lasts. `mean` is its mean so far."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._busy: list[subprocess.Popen[bytes]] = []
        self._seen: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keep the load")

    @property
    def mean(self) -> float:
        return sum(self._seen) / max(1, len(self._seen))

    @contextlib.contextmanager
    def kept(self) -> Generator[None]:
        """Keep the load, and end the busy processes whatever happens."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()
            for process in self._busy:
                _end(process)

    def _keep(self) -> None:
        since_change = 0
        while not self._ended.wait(_LOOK_S):
            self._seen.append(running())
            since_change += 1
            lately = self._seen[-min(since_change, _LOOKS) :]
            missing = self._wanted - sum(lately) / len(lately)
            if len(lately) == _LOOKS or missing >= len(self._busy) + 1:
                since_change = 0
                self._change(round(missing))

    def _change(self, by: int) -> None:
        for _ in range(by):
            self._busy.append(subprocess.Popen(_BUSY))
        for process in self._busy[len(self._busy) + min(0, by) :]:
            _end(process)
            self._busy.remove(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def running() -> int:
    """Count the processes that run or want to, but for those that yield to this one."""
    found = 0
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += process.status() == psutil.STATUS_RUNNING and process.nice() <= own
    return found


class Runs:
    """Runs of the tests, each with its log and its temporary directory."""

    def __init__(self, arguments: list[str], load: Load) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sipgw-loaded-"))
        self._arguments = arguments
        self._load = load
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_interrupted = False

    def run(self, number: int) -> bool:
        """Run the tests once; keep the log and the directory only if they failed."""
        if self._is_interrupted:
            return False
        log, files = self.directory / f"{number}.log", self.directory / f"{number}"
        began = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_PYTEST, f"--basetemp={files}", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            self._running.add(process)
            status = process.wait()
            self._running.discard(process)
        lines = log.read_text(errors="replace").strip().splitlines()
        print(
            f"run {number}: {'passed' if status == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s, "
            f"load {self._load.mean:.1f}: {lines[-1].strip(' =') if lines else ''}",
            flush=True,
        )
        for line in lines:
            if "] failed " in line:
                print(f"  {line}", flush=True)
        if status == 0:
            log.unlink()
            shutil.rmtree(files, ignore_errors=True)
        return status == 0

    def interrupt(self, _signal: int, _frame: object) -> None:
        """Interrupt the runs, which free their resources, and begin no more."""
        self._is_interrupted = True
        for process in list(self._running):
            process.send_signal(signal.SIGINT)


def main() -> int:
    """Return 0 when every run passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--load", type=int, default=10, help="processes that run or want to at any time")
    parser.add_argument("--times", type=int, default=20, help="runs in all")
    parser.add_argument("--copies", type=int, default=1, help="runs at any time")
    parser.add_argument("arguments", nargs="*", metavar="-- PYTEST_ARGUMENT")
    options = parser.parse_args()
    load = Load(options.load)
    runs = Runs(options.arguments, load)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, runs.interrupt)
    with load.kept(), ThreadPoolExecutor(options.copies) as pool:
        passed = sum(pool.map(runs.run, range(1, options.times + 1)))
    print(
        f"{passed} of {options.times} runs passed at a mean load of {load.mean:.1f}"
        + ("" if passed == options.times else f"; logs in {runs.directory}")
    )
    return 0 if passed == options.times else 1


if __name__ == "__main__":
    sys.exit(main())
