"""How many calls a whole gateway on one machine admits and holds, with recording on.

python bench/admission.py [--calls 300] [--rate 50] [--hold 20]

`sipgw up` (Redis, registry, one relay, one edge, recordings) and SIPp share the cores. SIPp returns each
packet that it gets, so that RTP goes both ways in each call. `held`: set up, and ended by the caller's BYE
after `--hold` seconds. `recorded`: files at least as long as that, less two seconds. Cores are measured while
all calls stand. Below the table is what edge and relay logged of calls that were refused, or did not hold.
To compare with an earlier commit: python bench/compare.py COMMIT admission
"""

import argparse
import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edge_setup_rate import GATEWAY, NAMES, SCENARIO, cpu_seconds, milliseconds, set_up

SETTLE_S = 3  # between the last call's set-up and what is measured
SLACK_S = 2.0
EVENTS = {
    "audio_became_late",
    "relay_became_full",
    "relay_lost",
    "relay_refused",
    "relay_silent",
    "stood_still",
}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
        each.bind(("127.0.0.1", 0))
        return each.getsockname()[1]


@contextlib.contextmanager
def gateway(folder: Path, calls: int, sip_port: int) -> Iterator[subprocess.Popen[str]]:
    """Run `sipgw up` with room for the calls."""
    (folder / "gateway.yaml").write_text(f"{GATEWAY}  record: true\n")
    ports = f"22000-{22000 + 4 * calls - 1}"
    flags = f"-f {folder}/gateway.yaml --sip-port {sip_port} --advertise 127.0.0.1 --rtp-ports {ports}"
    command = [sys.executable, "-m", "sipgw.cli", "up", *flags.split(), "--recordings", str(folder / "wav")]
    environment = os.environ | {"XDG_STATE_HOME": str(folder)}  # where its logs are
    up = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert up.stdout
    try:
        for line in up.stdout:
            if line.startswith("ready"):
                threading.Thread(target=up.stdout.read, daemon=True).start()
                yield up
                return
        raise SystemExit("sipgw up did not become ready; run it by hand to see why")
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(30)


def call(folder: Path, sip_port: int, arguments: argparse.Namespace) -> dict[str, str]:
    """Run SIPp once; return the last line of its statistics."""
    media = free_port()
    scenario, statistics = folder / "scenario.xml", folder / "statistics.csv"
    scenario.write_text(SCENARIO.read_text().replace("m=audio 6000", f"m=audio {media}"))
    calls, rate, hold = arguments.calls, arguments.rate, arguments.hold
    flags = (
        f"-i 127.0.0.1 -r {rate} -m {calls} -l {calls} -d {hold * 1000} -rtp_echo -mp {media} -fd 1 -nostdin"
    )
    flags += f" -trace_stat -stf {statistics} -timeout {calls // rate + hold + 40}"
    subprocess.run(
        ["sipp", "-sf", str(scenario), f"127.0.0.1:{sip_port}", *flags.split()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        cwd=folder,
        env={**os.environ, "TERM": "dumb"},
    )
    with statistics.open() as lines:
        return list(csv.DictReader(lines, delimiter=";"))[-1]


def recorded(folder: Path, seconds: float) -> int:
    """Return how many recordings last so long."""
    count = 0
    for path in folder.rglob("*.wav"):
        with contextlib.suppress(wave.Error, EOFError), wave.open(str(path)) as file:
            count += file.getnframes() / file.getframerate() >= seconds
    return count


def troubles(folder: Path) -> Counter[str]:
    """Return why calls were refused or ended, and what the relay said of its load, with how often."""
    found: Counter[str] = Counter()
    for path in folder.rglob("*.log"):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if said["event"] in EVENTS or (
                    said["event"] == "call_ending" and said["cause"] != "caller_hangup"
                ):
                    found[f"{said['event']} {said.get('cause', '')}: {said.get('reason', '')}"] += 1
    return found


def main() -> None:
    """Print a table of one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rate", type=int, default=50, help="new calls a second")
    parser.add_argument("--hold", type=int, default=20, help="seconds that a call stands")
    arguments = parser.parse_args()
    offered_s = arguments.calls / arguments.rate
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(1) as callers:
        folder, sip_port = Path(name), free_port()
        with gateway(folder, arguments.calls, sip_port) as up:
            calling = callers.submit(call, folder, sip_port, arguments)
            time.sleep(offered_s + SETTLE_S)
            before, begun = cpu_seconds(up), time.monotonic()
            time.sleep(max(arguments.hold - offered_s - SETTLE_S - 1, 1))
            after, elapsed = cpu_seconds(up), time.monotonic() - begun
            row = calling.result()
        held, refused, failed = set_up(row), int(row["GenericCounter1(C)"]), int(row["FailedCall(C)"])
        files = recorded(folder, arguments.hold - SLACK_S)
        why = troubles(folder)
    print(
        f"| calls | a second | held | refused | failed | recorded | ms to 200 | {' | '.join(NAMES)} | load |"
    )
    print("|---" * (8 + len(NAMES)) + "|")
    cores = " | ".join(f"{(after[part] - before[part]) / elapsed:.2f}" for part in NAMES)
    answered = milliseconds(row["ResponseTime1(C)"])
    print(
        f"| {arguments.calls} | {arguments.rate} | {held} | {refused} | {failed} | {files} | {answered:.0f} "
        f"| {cores} | {os.getloadavg()[0]:.1f} |"
    )
    for trouble, times in why.most_common():
        print(f"{times} x {trouble}")


if __name__ == "__main__":
    main()
