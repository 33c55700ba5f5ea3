"""A day of 100,000 calls at the peak, with bursts: the operator's plan() beside a rule like the HPA's.

    python bench/sim.py --peak 100000 --out out/sim

Prints a table and draws `scaling.png`. The code that decides is the operator's own (sipgw.operator.plan);
calls, relays and the time they take to start are modelled (bench/scaling).
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scaling.day import make_day
from scaling.fleet import Fleet
from scaling.plot import draw
from scaling.rules import HpaRule, OperatorRule, Rule
from scaling.run import Outcome, run_day

from sipgw.operator.fleet import SizingSpec

STEP_S = 5.0


def rules(most: int) -> list[Rule]:
    """Return the rules, with the same bounds and the same target."""
    spec = SizingSpec(lanes=4, least=2, most=most, target_utilization=0.7, warm=2)
    return [
        OperatorRule(spec),
        HpaRule("HPA-like, waits for calls to end", least=2, most=most, target=0.7, waits_s=3600),
        HpaRule("HPA-like, 30 s of grace", least=2, most=most, target=0.7, waits_s=30),
    ]


def table(outcomes: list[Outcome]) -> str:
    """Format the results as Markdown."""
    lines = [
        "| rule | calls | refused | in bursts | dropped | moved | relay-hours | idle | most relays |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.rule} | {one.offered:,} | {one.refused:,} ({100 * one.refused / one.offered:.3f} %) "
        f"| {one.refused_in_bursts:,} | {one.dropped:,} | {one.moved:,} | {one.relay_hours:,.0f} "
        f"| {one.idle_relay_hours:,.0f} | {one.most_relays} |"
        for one in outcomes
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the day under each rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peak", type=int, default=100_000, help="concurrent calls at the top of the curve")
    parser.add_argument("--hold", type=float, default=180.0, help="mean length of a call, seconds")
    parser.add_argument("--capacity", type=int, default=800, help="cost units of a relay; a call costs one")
    parser.add_argument("--start", type=float, default=20.0, help="from asking for a relay to its first call")
    parser.add_argument("--most", type=int, default=320, help="relays at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/sim"))
    options = parser.parse_args()
    begun = time.perf_counter()
    day = make_day(peak_calls=options.peak, hold_s=options.hold, step_s=STEP_S, seed=options.seed)
    outcomes: list[Outcome] = []
    for rule in rules(options.most):
        first = max(2, int(day.arrivals[0] / STEP_S * options.hold / options.capacity / 0.7) + 2)
        fleet = Fleet(
            most=options.most + 1,
            capacity=options.capacity,
            start_s=options.start,
            total=first,
            seed=options.seed,
        )
        fleet.place(int(day.arrivals[0] / STEP_S * options.hold), 0.0)
        outcomes.append(run_day(day, rule, fleet))
    options.out.mkdir(parents=True, exist_ok=True)
    draw(day, outcomes, options.capacity, options.out / "scaling.png")
    print(table(outcomes))
    print(f"\n{options.out / 'scaling.png'}; {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
