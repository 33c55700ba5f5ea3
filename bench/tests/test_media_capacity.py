"""The bench of the media plane: its arithmetic, and that it runs from end to end."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCH = Path(__file__).parents[1]
sys.path.insert(0, str(BENCH))

from media.figures import Histogram, split_loss  # noqa: E402
from media.native import compile_programs  # noqa: E402


def histogram(durations_ms: list[float]) -> Histogram:
    bins: dict[int, int] = {}
    for ms in durations_ms:
        bins[int(ms * 10)] = bins.get(int(ms * 10), 0) + 1
    return Histogram(tuple(sorted(bins.items())), max(durations_ms, default=0.0))


@given(st.lists(st.floats(0, 3000), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_the_least_duration_that_the_share_does_not_exceed(
    durations: list[float], share: float
) -> None:
    exact = sorted(durations)[max(0, -(-int(share * 1000) * len(durations) // 1000) - 1)]
    assert histogram(durations).percentile_ms(share) == pytest.approx(exact, abs=0.1 + 1e-6)


def test_durations_above_a_bound_are_counted() -> None:
    assert histogram([0.0, 19.9, 20.0, 35.0]).above(20.0) == 2


def test_what_sockets_dropped_is_not_laid_to_the_relay_as_dropped_by_itself() -> None:
    lost = split_loss(missing=10, dropped_there=3, dropped_here=2, not_whole=1)
    assert (lost.to_relay, lost.from_relay, lost.not_whole, lost.by_relay) == (3, 2, 1, 4)
    assert lost.of_relay == 8


@given(*[st.integers(0, 100)] * 4)
def test_each_missing_frame_has_one_cause(missing: int, there: int, here: int, not_whole: int) -> None:
    lost = split_loss(missing=missing, dropped_there=there, dropped_here=here, not_whole=not_whole)
    parts = (lost.to_relay, lost.by_relay, lost.not_whole, lost.from_relay)
    assert sum(parts) == missing
    assert min(parts) >= 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="the bench's callers are a C program; no cc is here")
def test_it_measures_a_relay_beside_the_floor(tmp_path: Path) -> None:
    result = tmp_path / "capacity.json"
    command = [
        sys.executable,
        BENCH / "media_capacity.py",
        "--calls",
        "20",
        "--seconds",
        "2",
        "--windows",
        "1",
    ]
    command += ["--bots", "trunk", "--json", result, "--plot", tmp_path / "plot.png"]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    (window,) = json.loads(result.read_text())["windows"]
    assert window["sent"] == (20 - window["refused"]) * 100
    lost = sum(window[name] for name in ("lost_to_relay", "lost_by_relay", "not_whole", "lost_from_relay"))
    assert lost < window["sent"]
    assert window["p50_ms"] > 0
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_a_machine_without_a_compiler_is_told_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(SystemExit, match=r"no C compiler \(cc\).*apt-get install gcc"):
        compile_programs(tmp_path)
