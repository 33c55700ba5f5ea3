"""Measure the calls that one core of a relay carries, beside an echo in plain C in the same minute.

python bench/media_capacity.py [--calls 1000,1500] [--seconds 60] [--windows 3] [--bots trunk,builtin]

Real PCMU RTP over loopback, 50 packets a second each way and call. The relay, or the floor in its place, has
one core; the other has the callers, the bot and this process, which is the edge (relay/v1). Callers and floor
are C programs (bench/media), compiled when the bench begins. Each window has a relay of its own.

`core` is CPU time over wall time, `multiple` the relay's as a multiple of the floor's. `lost` are the frames
that did not come back as they were: dropped by the relay's full sockets, by the relay, or something else came
in their place. `late packets` reached their caller more than 20 ms later than their timestamp says.
`ticks late` are those done more than 20 ms late, `latest` is the relay's latest one, both beside the floor's
own; `beyond` is the lateness of the relay's latest tick beyond that of the floor's. `other threads` is the
relay's CPU beside that of the ticks' thread: gRPC's, and the writer of recordings. Calls are set up before
any audio flows, so that the bench measures beyond the relay's own bound; `takes more` says whether it
would then have taken another call. Refused calls are listed.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from media.native import compile_programs
from media.rows import Row, row_of
from media.series import SERIES, Series
from media.table import head, line, table
from media.windows import Bench, measure_floor, measure_relay

from sipgw.runtime.telemetry.logs import configure_logging

_AROUND_S = 15.0
"""Seconds of a window beside the measured ones: start, set-up, warm-up, tail."""


def numbers_of_calls(chosen: list[Series], asked: str) -> dict[int, list[Series]]:
    """Return which series are measured at each number of calls."""
    by_calls: dict[int, list[Series]] = {}
    for series in chosen:
        for calls in map(int, asked.split(",")) if asked else series.calls:
            by_calls.setdefault(calls, []).append(series)
    return dict(sorted(by_calls.items()))


def measure(bench: Bench, by_calls: dict[int, list[Series]], windows: int) -> Iterator[Row]:
    """Measure everything once, then again: the windows of a number of calls are minutes apart.

    The floor comes after the first relay, so that it is beside the second one, too.
    """
    for window in range(1, windows + 1):
        for calls, series in by_calls.items():
            floor = None
            for one in series:
                load_average = os.getloadavg()[0]
                relay = asyncio.run(measure_relay(bench, one, calls))
                floor = floor or asyncio.run(measure_floor(bench, calls))
                yield row_of(one.name, window, load_average, relay, floor)


def machine() -> dict[str, Any]:
    """Return a description of this machine."""
    models = [
        text.partition(":")[2].strip()
        for text in Path("/proc/cpuinfo").read_text().splitlines()
        if text.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", default="", help="by commas; each kind of bot has its own otherwise")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a window")
    parser.add_argument("--windows", type=int, default=3)
    names = "; ".join(f"{each.name}: {each.what}" for each in SERIES.values())
    parser.add_argument("--bots", default=",".join(SERIES), help=f"by commas. {names}")
    parser.add_argument("--relay-core", type=int, default=1)
    parser.add_argument("--callers-core", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("out/media/capacity.json"))
    parser.add_argument("--plot", type=Path, default=Path("out/media/media-capacity.png"))
    arguments = parser.parse_args()
    if unknown := set(arguments.bots.split(",")) - set(SERIES):
        parser.error(f"--bots: no such bot: {', '.join(sorted(unknown))}; there are {', '.join(SERIES)}")
    ours = os.sched_getaffinity(0)
    cores = {arguments.relay_core, arguments.callers_core}
    if len(cores) < 2 or not cores <= ours:
        parser.error(f"--relay-core and --callers-core: two cores are needed, of {sorted(ours)}")
    return arguments


def write_json(path: Path, arguments: argparse.Namespace, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    windows = [{**asdict(row), "multiple": row.multiple, "holds": row.holds} for row in rows]
    asked = {name: str(value) for name, value in vars(arguments).items()}
    path.write_text(
        json.dumps({"machine": machine(), "arguments": asked, "windows": windows}, indent=1) + "\n"
    )


def main() -> None:
    """Print the windows as they are measured, then all of them in order; write the JSON, draw the picture."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and with it what was started
    configure_logging("bench", level="error")
    by_calls = numbers_of_calls([SERIES[name] for name in arguments.bots.split(",")], arguments.calls)
    runs = sum(len(series) + 1 for series in by_calls.values()) * arguments.windows
    print(f"{runs} windows, about {runs * (arguments.seconds + _AROUND_S) / 60:.0f} minutes\n", flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        native = compile_programs(Path(folder))
        bench = Bench(native, arguments.seconds, arguments.relay_core, arguments.callers_core)
        print(head())
        for row in measure(bench, by_calls, arguments.windows):
            print(line(row), flush=True)
            rows.append(row)
            write_json(arguments.json, arguments, rows)
    print(f"\nThe same in order, the best windows marked:\n\n{table(rows)}")
    from media.plot import draw

    arguments.plot.parent.mkdir(parents=True, exist_ok=True)
    draw(rows, arguments.plot)
    print(f"\n{arguments.json}\n{arguments.plot}")


if __name__ == "__main__":
    main()
