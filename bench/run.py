"""Run the benches one after the other: `make bench`, or `python bench/run.py NAME...` for some of them."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHES = (
    "sip_parse",
    "trunk_batch",
    "impairments",
    "recorder_cost",
    "placement",
    "mtls_control",
    "edge_options_rate",
    "edge_setup_rate",
    "admission",
    "edge_strangers",
    "media_capacity",
)
SHORT = {"media_capacity": "--calls 100,500,1000 --bots trunk,builtin --seconds 10 --windows 1"}
"""Arguments of benches that take hours otherwise."""


def main() -> None:
    """Run each bench, which prints its own table."""
    chosen = sys.argv[1:] or BENCHES
    unknown = set(chosen) - set(BENCHES)
    if unknown:
        raise SystemExit(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    for name in chosen:
        print(f"\n### {name}\n", flush=True)
        subprocess.run([sys.executable, HERE / f"{name}.py", *SHORT.get(name, "").split()], check=True)


if __name__ == "__main__":
    main()
