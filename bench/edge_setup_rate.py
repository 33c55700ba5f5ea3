"""How many calls per second one edge sets up and ends, with a real Redis, registry and relay.

python bench/edge_setup_rate.py [--rates 100,200,500] [--seconds 10] [--standing 1000]

SIPp (`uac_refusable.xml`: INVITE, ACK, BYE) is the caller; the relay's own echo is the bot, so that the
figure is the edge's. For each offered rate: calls set up per second, those refused with 503 and those that
failed otherwise, the time to the 200, and the CPU of each process per call. Before that, the memory that
`--standing` calls cost each process.
"""

import argparse
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

GATEWAY = """
apiVersion: sipgw.io/v1alpha1
kind: BotRoute
metadata: {name: echo}
spec:
  bots: [{endpoint: "builtin:echo"}]
  answer: immediate
"""
SCENARIO = Path(__file__).with_name("uac_refusable.xml")
PARTS = {"sip_edge": "edge", "media_relay": "relay", "sipgw.registry": "registry", "redis": "redis"}
NAMES = ("edge", "registry", "relay", "redis")
GENTLE = 50  # calls per second at which nothing queues


def start_gateway(folder: Path, more: str = "") -> tuple[subprocess.Popen[str], str]:
    """Start `sipgw up` on free ports with `more` documents; return it and its SIP address."""
    config = folder / "gateway.yaml"
    config.write_text(GATEWAY + more)
    command = [sys.executable, "-m", "sipgw.cli", "up", "-f", str(config), "--sip-port", "5780"]
    up = subprocess.Popen(
        [*command, "--advertise", "127.0.0.1", "--rtp-ports", "21000-25999", "--no-recording"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert up.stdout
    for line in up.stdout:
        if line.startswith("ready"):
            # It goes on reporting calls: read on, or it would block.
            threading.Thread(target=up.stdout.read, daemon=True).start()
            return up, "127.0.0.1:5780"
    raise SystemExit("sipgw up did not become ready; run it by hand to see why")


def processes(up: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """Return the gateway's parts by name."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.Process(up.pid).children(recursive=True):
        words = " ".join(process.cmdline())
        name = next((name for mark, name in PARTS.items() if mark in words), None)
        if name is not None:
            found[name] = process
    return found


def cpu_seconds(up: subprocess.Popen[str]) -> dict[str, float]:
    """Return the CPU time of each part so far."""
    times = {name: process.cpu_times() for name, process in processes(up).items()}
    return {name: spent.user + spent.system for name, spent in times.items()}


def memory_kib(up: subprocess.Popen[str]) -> dict[str, int]:
    """Return the memory of each part that no file backs: the kernel reclaims other pages at will."""
    return {name: anonymous_kib(process.pid) for name, process in processes(up).items()}


def anonymous_kib(pid: int) -> int:
    """Return the memory in RAM or swap."""
    status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    return sum(map(int, re.findall(r"^(?:RssAnon|VmSwap):\s+(\d+)", status, re.MULTILINE)))


def set_up(row: dict[str, str]) -> int:
    """Return how many calls were answered, by SIPp's statistics."""
    return int(row["SuccessfulCall(C)"]) - int(row["GenericCounter1(C)"])


def offer(target: str, rate: int, calls: int, folder: Path, hold_s: int = 0) -> dict[str, str]:
    """Run SIPp once with calls that stand for `hold_s`; return the last line of its statistics."""
    statistics = folder / f"rate-{rate}-{calls}.csv"
    command = ["sipp", "-sf", str(SCENARIO), target, "-i", "127.0.0.1", "-r", str(rate), "-m", str(calls)]
    options = ["-l", str(rate * 10 + calls), "-d", str(hold_s * 1000), "-trace_stat", "-stf", str(statistics)]
    # SIPp writes its screen to stdout; without a terminal it still needs a size.
    subprocess.run(
        [*command, *options, "-fd", "1", "-nostdin", "-timeout", f"{calls // rate + hold_s + 40}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        cwd=folder,
        env={**os.environ, "TERM": "dumb"},
    )
    with statistics.open() as lines:
        return list(csv.DictReader(lines, delimiter=";"))[-1]


def stand(up: subprocess.Popen[str], target: str, calls: int, folder: Path) -> None:
    """Print what a call costs in memory once all stand."""
    # warm up: one-time objects are made, garbage of the start is collected
    offer(target, GENTLE, calls, folder)
    before, set_up_s = memory_kib(up), calls // GENTLE
    with ThreadPoolExecutor(1) as callers:
        calling = callers.submit(offer, target, GENTLE, calls, folder, set_up_s + 10)
        time.sleep(set_up_s + 5)
        after = memory_kib(up)
        stood = set_up(calling.result())
    print("| calls that stand | edge KiB/call | registry | relay | redis |\n|---|---|---|---|---|")
    costs = " | ".join(f"{(after[part] - before[part]) / max(stood, 1):.0f}" for part in NAMES)
    print(f"| {stood} | {costs} |\n", flush=True)


def milliseconds(clock: str) -> float:
    """Convert SIPp's HH:MM:SS:microseconds."""
    hours, minutes, seconds, microseconds = map(int, clock.split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + microseconds / 1000


def main() -> None:
    """Measure each rate in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="100,200,500", help="calls a second, by commas")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--standing", type=int, default=1000, help="calls, for the memory of one; 0: not")
    arguments = parser.parse_args()
    if not shutil.which("sipp"):
        raise SystemExit("sipp is not here; install it (Debian: sip-tester)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        up, target = start_gateway(folder)
        try:
            if arguments.standing:
                stand(up, target, arguments.standing, folder)
            print(
                "| offered/s | set up/s | refused | failed | ms to 200 | edge ms | registry | relay | redis |"
            )
            print("|---|---|---|---|---|---|---|---|---|")
            for rate in map(int, arguments.rates.split(",")):
                before, begun = cpu_seconds(up), time.monotonic()
                row = offer(target, rate, rate * arguments.seconds, folder)
                elapsed, after = time.monotonic() - begun, cpu_seconds(up)
                refused, failed, done = int(row["GenericCounter1(C)"]), int(row["FailedCall(C)"]), set_up(row)
                cost = {part: (after[part] - before[part]) * 1000 / max(done, 1) for part in after}
                answered = milliseconds(row["ResponseTime1(C)"])
                costs = " | ".join(f"{cost[part]:.2f}" for part in NAMES)
                print(
                    f"| {rate} | {done / elapsed:.0f} | {refused} | {failed} | {answered:.0f} | {costs} |",
                    flush=True,
                )
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(30)


if __name__ == "__main__":
    main()
