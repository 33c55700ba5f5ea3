"""The pytest plugin behind `--follow`: a line for each test in place of dots.

A test that has ended is named with its result and its seconds. One that runs for longer than a second is
named while it runs, and again every half minute. Works the same in one process and under pytest-xdist, whose
controller hears of every start and end; and the same on a terminal and into a file.
"""

import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

import pytest

from following.estimate import estimate, mean_by_file, read_recorded, write_recorded

_CACHE_KEY: Final = "sipgw/durations"
_NAMED_AFTER_S: Final = 1.0
_NAMED_AGAIN_S: Final = 30.0
_LOOK_S: Final = 0.25

Status = tuple[str, str, str | tuple[str, dict[str, bool]]]


class Running:
    """The tests that run now, and when to name each of them next."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def begin(self, nodeid: str, now: float) -> None:
        self._began[nodeid] = now
        self._due[nodeid] = now + _NAMED_AFTER_S

    def end(self, nodeid: str) -> None:
        self._began.pop(nodeid, None)
        self._due.pop(nodeid, None)

    def to_name(self, now: float) -> list[tuple[str, float]]:
        """Return the tests to name now, with the seconds that they have run for."""
        found = [nodeid for nodeid, due in self._due.items() if due <= now]
        for nodeid in found:
            self._due[nodeid] = now + _NAMED_AGAIN_S
        return [(nodeid, now - self._began[nodeid]) for nodeid in found]


class Follower:
    """Hears of tests from pytest's hooks and writes lines with `write(line, **markup)`."""

    def __init__(self, config: pytest.Config, write: Callable[..., None]) -> None:
        self._config = config
        self._cache: Any = getattr(config, "cache", None)  # -p no:cacheprovider has none
        self._write = write
        self._stdout = os.dup(1)  # while a test runs, pytest captures writes to descriptor 1 itself
        self._running = Running()
        self._seconds: dict[str, float] = {}
        self._outcomes: dict[str, pytest.TestReport] = {}
        self._total = 0
        self._ended = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._name_the_slow, name="follow-tests", daemon=True)

    def expect(self, nodeids: Sequence[str]) -> None:
        """Print how long these tests will take, and begin to follow them; later calls change nothing."""
        if self._total:
            return
        self._total = len(nodeids)
        processes = max(1, len(self._config.getoption("tx", None) or ()))
        self._say(str(estimate(nodeids, processes, self._measured_here(), read_recorded())), bold=True)
        self._thread.start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self.expect(ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items and not self._config.option.collectonly:
            self.expect([item.nodeid for item in session.items])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        with self._lock:
            self._running.begin(nodeid, time.monotonic())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        with self._lock:
            nodeid = report.nodeid
            self._seconds[nodeid] = self._seconds.get(nodeid, 0.0) + report.duration
            if report.when == "call" or not report.passed:
                self._outcomes[nodeid] = report
            if report.when not in ("setup", "call"):  # a worker that crashed reports its test with "???"
                self._running.end(nodeid)
                self._name_ended(nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Status, Status]:
        category, _, _ = yield
        return category, "", ""  # no dot: the line is ours

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._stdout)
        means = mean_by_file(self._seconds)
        if self._cache is not None:
            self._cache.set(_CACHE_KEY, {**self._measured_here(), **means})
        if self._config.option.record_durations:
            write_recorded(means, session.config.rootpath)

    def _name_ended(self, nodeid: str) -> None:
        self._ended += 1
        report = self._outcomes.get(nodeid)
        outcome = report.outcome if report is not None else "passed"
        colour = {"passed": "green", "failed": "red", "skipped": "yellow"}[outcome]
        why = f"  {_reason(report)}" if report is not None and outcome == "failed" else ""
        self._say(f"{outcome:8}{self._seconds[nodeid]:7.2f} s  {nodeid}{why}", **{colour: True})

    def _name_the_slow(self) -> None:
        while not self._stopped.wait(_LOOK_S):
            with self._lock:
                for nodeid, seconds in self._running.to_name(time.monotonic()):
                    line = f"{self._share()} {'running':8}{seconds:7.0f} s  {nodeid}\n"
                    os.write(self._stdout, line.encode())

    def _say(self, text: str, **markup: bool) -> None:
        self._write(f"{self._share()} {text}", **markup)

    def _share(self) -> str:
        return f"[{100 * self._ended // max(1, self._total):3}%]"

    def _measured_here(self) -> dict[str, float]:
        return {} if self._cache is None else self._cache.get(_CACHE_KEY, {})


def _reason(report: pytest.TestReport) -> str:
    """Return the first line of the failure; the whole follows when all tests have ended."""
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr or "")
    return text.partition("\n")[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("following")
    group.addoption("--follow", action="store_true", help="say an estimate first, then a line a test")
    group.addoption(
        "--record-durations",
        action="store_true",
        help="with --follow: keep the seconds of this run in testrun/following/durations.json",
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if not config.option.follow or hasattr(config, "workerinput") or reporter is None:
        return
    reporter.showfspath = False

    def write(line: str, **markup: bool) -> None:
        reporter.write_line(line, **markup)
        reporter.flush()

    config.pluginmanager.register(Follower(config, write), "following")
