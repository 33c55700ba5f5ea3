"""Measure how a caller sounds to the bot on bad networks: loss, jitter, reordering, leaps, drift.

python bench/impairments.py [--only loss] [--json out/impairments.json]

The relay's real receiving side (receiver, jitter buffer, uplink) in virtual time, so nothing depends on the
machine. espeak-ng makes the speech. `delay`: beyond that of a good network, at the median of the last seconds
and at most. `concealed`: frames with the flag CONCEALED while the caller spoke. `lost`: of the samples of
words after the first second; `words`: those of which more than a quarter was not heard. PESQ (MOS-LQO, 4.55
at best) needs the package `pesq`, which a C compiler builds: .tools/bin/uv pip install pesq
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from impaired.line import run
from impaired.networks import NETWORKS, even_packets
from impaired.score import Listener, Score
from impaired.speech import say


def measure(only: str) -> dict[str, Score]:
    """Return the score of each network whose name has `only` in it."""
    speech = say()
    listener = Listener(speech)
    packets = even_packets(speech.payload)
    names = [name for name in NETWORKS if only in name]
    calls = [packets, *(NETWORKS[name](packets) for name in names)]
    good, *heard = run(calls)
    listener.take_as_good(good)
    return {name: listener.judge(frames) for name, frames in zip(names, heard, strict=True)}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="networks with this in their name")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    scores = measure(arguments.only)
    print("| network | delay ms | at most | concealed | lost | words | PESQ |\n|---|---|---|---|---|---|---|")
    for name, score in scores.items():
        pesq = "-" if score.pesq is None else f"{score.pesq:.2f}"
        print(
            f"| {name} | {score.delay_ms:.0f} | {score.most_delay_ms:.0f} | {score.concealed}"
            f" | {score.lost_share:.1%} | {score.words_lost} | {pesq} |"
        )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps({name: asdict(score) for name, score in scores.items()}, indent=1)
        )


if __name__ == "__main__":
    main()
