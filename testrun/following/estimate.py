"""Estimate the duration of tests from their earlier durations.

The mean seconds of a test are kept by test file. Those of this machine come from pytest's cache, which each
followed run updates. The others come from `durations.json`, which is part of the repository.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RECORDED: Final = Path(__file__).with_name("durations.json")
_UNKNOWN_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate of a run; `tests_known_here` have been run on this machine before."""

    tests: int
    tests_known_here: int
    processes: int
    total_s: float

    def __str__(self) -> str:
        processes = "1 process" if self.processes == 1 else f"{self.processes} processes"
        return (
            f"estimate: {_minutes(self.total_s / self.processes)} for {self.tests} tests in {processes}; "
            f"{self.tests_known_here} of them by what they took on this machine before, "
            "the others by testrun/following/durations.json"
        )


def estimate(
    nodeids: Iterable[str], processes: int, here: Mapping[str, float], recorded: Mapping[str, float]
) -> Estimate:
    """Estimate each test by the mean of its file: measured here, else recorded, else a fifth of a second."""
    tests = known = 0
    total_s = 0.0
    for nodeid in nodeids:
        file = file_of(nodeid)
        tests += 1
        known += file in here
        total_s += here.get(file, recorded.get(file, _UNKNOWN_S))
    return Estimate(tests, known, processes, total_s)


def mean_by_file(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the mean seconds of a test for each file, from seconds by node id."""
    of_file: defaultdict[str, list[float]] = defaultdict(list)
    for nodeid, taken in seconds.items():
        of_file[file_of(nodeid)].append(taken)
    return {file: round(sum(taken) / len(taken), 3) for file, taken in sorted(of_file.items())}


def read_recorded(path: Path = RECORDED) -> dict[str, float]:
    """Read the recorded seconds of a test, by file."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def write_recorded(means: Mapping[str, float], root: Path, path: Path = RECORDED) -> None:
    """Replace the records of these files; drop those of files that are gone."""
    merged = {**read_recorded(path), **means}
    kept = {file: merged[file] for file in sorted(merged) if (root / file).exists()}
    path.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


def file_of(nodeid: str) -> str:
    """Return the file of a test from its node id."""
    return nodeid.partition("::")[0]


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
