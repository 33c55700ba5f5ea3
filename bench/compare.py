"""Run a bench with the code of an earlier commit and with this checkout's, in turn.

python bench/compare.py main~5 recorder_cost --calls 300

Machines differ and are noisy; only measurements of one run, in turn, can be compared. The earlier commit is
checked out for the duration, and its packages come first in PYTHONPATH, also for the processes that the bench
starts. The bench itself is this checkout's: it fails if it uses an interface that the earlier commit lacks.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

BENCH: Final = Path(__file__).parent
CHECKOUT: Final = BENCH.parent
SOURCES: Final = ("libs/*/src", "services/*/src", "operator/src", "sdk/python/src", "cli/src")


def run(bench: str, arguments: list[str], packages: Path) -> None:
    """Run the bench with the packages of that checkout."""
    sources = [str(folder) for pattern in SOURCES for folder in sorted(packages.glob(pattern))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sources)}
    subprocess.run([sys.executable, BENCH / f"{bench}.py", *arguments], env=environment, check=True)


def main() -> None:
    """Print the bench's table for each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit")
    parser.add_argument("bench", choices=sorted(path.stem for path in BENCH.glob("*.py")))
    parser.add_argument("--rounds", type=int, default=2)
    arguments, for_bench = parser.parse_known_args()
    git = ["git", "-C", str(CHECKOUT)]
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "earlier"
        subprocess.run(
            [*git, "worktree", "add", "--quiet", "--detach", earlier, arguments.commit], check=True
        )
        try:
            for number in range(arguments.rounds):
                for name, packages in ((arguments.commit, earlier), ("this checkout", CHECKOUT)):
                    load = os.getloadavg()[0]
                    print(f"\nround {number + 1}, {name} (load average {load:.1f}):\n", flush=True)
                    run(arguments.bench, for_bench, packages)
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", earlier], check=True)


if __name__ == "__main__":
    main()
