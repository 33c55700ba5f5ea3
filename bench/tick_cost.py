"""Measure the cost of a tick of the media plane: CPU of one thread, with sockets, without bots and control.

python bench/tick_cost.py [--calls 20,200,500,1000] [--recorded]

Time passes as told, so that the figures hold on a busy machine too: `core` is the CPU of a tick over the 5 ms
that it has. Callers send PCMU over loopback from this process; their CPU is not counted. The relay
echoes. The kit of the relay's tests, of the checkout whose packages run, sets up the calls.
"""

import argparse
import gc
import importlib.util
import logging
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog

import sipgw.media_relay.app
from sipgw.runtime.free_ports import free_range, give_back

TICK_S, TICKS_A_FRAME = 0.005, 4
WARM_UP_FRAMES, FRAMES = 15, 50


def load_kit() -> Any:
    """Return the conftest of the relay's tests."""
    tests = Path(sipgw.media_relay.app.__file__).parents[3] / "tests"
    spec = importlib.util.spec_from_file_location("kit", tests / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    kit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    return kit


def ticks_cpu_s(bench: Any, phones: list[Any], frames: int) -> float:
    """Return the CPU of all ticks while every caller sends so many frames, a quarter of them in each tick."""
    spent = 0.0
    for _ in range(frames):
        for phase in range(TICKS_A_FRAME):
            speaking = phones[phase::TICKS_A_FRAME]
            for phone in speaking:
                phone.say()
            begun = time.thread_time()
            bench.tick()
            spent += time.thread_time() - begun
            for phone in speaking:
                phone.received()
    return spent


def measure(kit: Any, calls: int, folder: Path, *, recorded: bool) -> float:
    """Return the CPU of a tick with so many calls."""
    low = free_range(2 * calls)
    bench = kit.Bench(low, low + 2 * calls - 1, folder, kit.FakeBots())
    phones = [bench.phone() for _ in range(calls)]
    for number, phone in enumerate(phones):
        options = {"recording": folder / f"{calls}-{number}.wav"} if recorded else {}
        bench.call(phone, f"call-{number}", **options)
    gc.collect()
    gc.freeze()
    ticks_cpu_s(bench, phones, WARM_UP_FRAMES)
    spent = ticks_cpu_s(bench, phones, FRAMES)
    bench.close()
    give_back(low, 2 * calls)
    gc.unfreeze()
    return spent / (FRAMES * TICKS_A_FRAME)


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", default="20,200,500,1000", help="by commas")
    parser.add_argument("--recorded", action="store_true", help="record every call")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    kit = load_kit()
    print("| calls | ms a tick | core |", "|---|---|---|", sep=os.linesep, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for calls in map(int, arguments.calls.split(",")):
            tick_s = measure(kit, calls, Path(folder), recorded=arguments.recorded)
            print(f"| {calls} | {tick_s * 1000:.3f} | {tick_s / TICK_S:.3f} |", flush=True)


if __name__ == "__main__":
    main()
