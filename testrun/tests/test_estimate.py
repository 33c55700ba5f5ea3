"""The estimate at the start of a followed run."""

from pathlib import Path

from following.estimate import RECORDED, estimate, mean_by_file, read_recorded, write_recorded

ROOT = Path(__file__).parents[2]


def test_what_this_machine_measured_comes_before_what_is_recorded() -> None:
    expected = estimate(
        ["a.py::one", "a.py::two[x::y]", "b.py::one"], 2, {"a.py": 10.0}, {"a.py": 1.0, "b.py": 5.0}
    )
    assert (expected.tests, expected.tests_known_here, expected.total_s) == (3, 2, 25.0)


def test_it_says_how_long_in_how_many_processes_and_by_what() -> None:
    nodeids = [f"a.py::test_{n}" for n in range(120)]
    assert str(estimate(nodeids, 3, {"a.py": 10.0}, {})).startswith(
        "estimate: 6.7 min for 120 tests in 3 processes; 120 of them by what they took on this machine before"
    )
    assert str(estimate(nodeids[:2], 1, {}, {"a.py": 3.0})).startswith(
        "estimate: 6 s for 2 tests in 1 process; 0 of"
    )


def test_a_file_that_nobody_has_measured_counts_a_little() -> None:
    assert 0 < estimate(["new.py::one"], 1, {}, {}).total_s < 1


def test_seconds_are_kept_as_the_mean_of_a_file() -> None:
    assert mean_by_file({"a.py::one": 1.0, "a.py::two": 2.0, "b.py::one": 0.5}) == {"a.py": 1.5, "b.py": 0.5}


def test_a_record_replaces_what_was_run_keeps_the_rest_and_forgets_files_that_are_gone(
    tmp_path: Path,
) -> None:
    file = tmp_path / "durations.json"
    for name in ("a.py", "b.py"):
        (tmp_path / name).touch()
    write_recorded({"a.py": 1.0, "b.py": 2.0, "gone.py": 3.0}, tmp_path, file)
    write_recorded({"a.py": 4.0}, tmp_path, file)
    assert read_recorded(file) == {"a.py": 4.0, "b.py": 2.0}


def test_the_repository_records_most_of_its_tests() -> None:
    recorded = read_recorded(RECORDED)
    files = [file for root in ("libs", "services", "e2e") for file in (ROOT / root).glob("**/test_*.py")]
    known = [file for file in files if str(file.relative_to(ROOT)) in recorded]
    assert len(known) > 0.6 * len(files), "record them anew: make test ARGS=--record-durations"
