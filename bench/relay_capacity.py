"""How many calls one relay carries: real PCMU RTP over loopback, echoed back to the callers.

python bench/relay_capacity.py [--calls 100,500,1000] [--seconds 15] [--bots builtin,trunk]

This process is the edge (relay/v1), the callers have their own process (bench/rtp_callers.py), the relay and
the echo bot are the real ones. Each line is a fresh relay. `core` is CPU time over wall time; `others` is the
rest of the machine's work, in cores: where that is much, the latency is the machine's and not the relay's.
`RTP lost`: packets that one side sent and the other did not get, both ways. `dropped`: frames sent that did
not come back as they were; after a stall of the machine the relay drops what would stay as delay (the excess
rule of sipgw.rtp.excess; the callers' audio is never quiet). `concealed`: frames that the relay made up,
since their packets did not come in time.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.control import RelayLink
from sipgw.runtime.settings import new_identity
from sipgw.runtime.telemetry.logs import configure_logging

FIRST_PORT = 30000
BATCH = 50  # commands in progress at once
READY_S = 20.0
CALLERS = Path(__file__).with_name("rtp_callers.py")
COLUMNS = (
    "bot | calls | relay core | user | system | CPU ms per call-second | calls per core | bot core "
    "| RTP lost | dropped | concealed | p50 ms | p99 ms | max ms | RSS KiB/call | ticks late | skipped "
    "| others"
)


@dataclass(frozen=True)
class Measured:
    """CPU seconds by now."""

    at_s: float
    user: float
    system: float
    bot: float
    machine: float


@contextlib.contextmanager
def service(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start a process and yield its `ready` line; further logs are read and thrown away."""
    # A session each, as under a supervisor: Linux shares the CPU of a busy machine by sessions.
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                with contextlib.suppress(ValueError):
                    if (fields := json.loads(line)).get("event") == "ready":
                        threading.Thread(target=process.stderr.read, daemon=True).start()
                        yield process, fields
                        return
            raise SystemExit(f"{arguments[0]} did not become ready:\n{''.join(lines)}")
        finally:
            process.terminate()


def measure(relay: psutil.Process, bot: psutil.Process | None) -> Measured:
    spent = relay.cpu_times()
    bot_spent = sum(bot.cpu_times()[:2]) if bot else 0.0
    machine = psutil.cpu_times()
    busy = machine.user + machine.system + machine.nice + getattr(machine, "softirq", 0.0)
    return Measured(time.monotonic(), spent.user, spent.system, bot_spent, busy)


def read_metrics(admin: str) -> dict[str, float]:
    """Return the relay's own counters, by name."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith("sipgw_relay_") and "{" not in line)
    return {name.removeprefix("sipgw_relay_"): float(value) for name, _, value in pairs}


class Edge:
    """Sets up the calls, as an edge would."""

    def __init__(self, relay: str, bot: str) -> None:
        self._bot = bot
        self._ready = 0
        self._wanted = asyncio.Event()
        self._calls = 0
        self._link = RelayLink(relay, new_identity("bench"), self._on_event, deadline_s=5.0)

    async def set_up(self, caller_ports: list[int]) -> list[int]:
        """Set up the calls; return the relay's RTP port for each caller's."""
        self._calls = len(caller_ports)
        await asyncio.wait_for(self._link.wait_connected(), READY_S)
        ports = await self._in_batches(self._allocate, caller_ports)
        await asyncio.wait_for(self._wanted.wait(), READY_S)
        await self._in_batches(self._start, caller_ports)
        return ports

    async def packets_received(self) -> int:
        return sum(state.packets_received for state in await self._link.list_sessions())

    async def aclose(self) -> None:
        await self._link.aclose()

    async def _in_batches(self, step: Any, caller_ports: list[int]) -> list[Any]:
        results: list[Any] = []
        for begin in range(0, len(caller_ports), BATCH):
            some = caller_ports[begin : begin + BATCH]
            results += await asyncio.gather(*(step(port) for port in some))
        return results

    async def _allocate(self, port: int) -> int:
        media = pb.MediaSpec(
            remote_address="127.0.0.1",
            remote_rtp_port=port,
            codec=config_pb2.AUDIO_CODEC_PCMU,
            ptime_ms=20,
        )
        bot = pb.BotSpec(endpoint=self._bot, playout=config_pb2.PLAYOUT_LIVE)
        allocate = pb.Allocate(media=media, bot=bot)
        answer = await self._link.allocate(f"call-{port}", generation=1, owner_epoch=1, spec=allocate)
        return answer.rtp_port

    async def _start(self, port: int) -> None:
        await self._link.start(f"call-{port}", generation=1, owner_epoch=1)

    def _on_event(self, event: pb.MediaEvent) -> None:
        kind = event.WhichOneof("event")
        if kind == "bot_failed":
            sys.exit(f"the bot failed: {event.bot_failed.reason}")
        self._ready += kind == "bot_ready"
        if self._ready == self._calls:
            self._wanted.set()


class Callers:
    """The process of all callers."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, CALLERS, "--calls", str(calls), "--seconds", str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid

    async def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        if not line:
            raise SystemExit("the callers ended early: see their message above")
        return json.loads(line)

    def tell(self, what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


async def run(
    name: str, bot_endpoint: str, bot_pid: int | None, calls: int, seconds: float, relay_ready: dict[str, Any]
) -> str:
    """Return one line of the table."""
    relay = psutil.Process(relay_ready["pid"])
    bot = psutil.Process(bot_pid) if bot_pid else None
    empty_rss = relay.memory_info().rss
    edge, callers = Edge(relay_ready["listen"], bot_endpoint), Callers(calls, seconds)
    try:
        caller_ports = (await callers.read())["ports"]
        callers.tell(await edge.set_up(caller_ports))
        await callers.read()  # the measured time begins
        generator = psutil.Process(callers.pid)
        before, generator_before = measure(relay, bot), sum(generator.cpu_times()[:2])
        counted = await asyncio.to_thread(read_metrics, relay_ready["admin"])
        await callers.read()  # and ends
        after, generator_after = measure(relay, bot), sum(generator.cpu_times()[:2])
        rss = relay.memory_info().rss
        counted_after = await asyncio.to_thread(read_metrics, relay_ready["admin"])
        heard = await callers.read()  # packets on their way have arrived
        lost = heard["sent"] - await edge.packets_received() + heard["lost_here"]
    finally:
        callers.end()
        await edge.aclose()
    wall = after.at_s - before.at_s
    user, system = (after.user - before.user) / wall, (after.system - before.system) / wall
    core, bot_core = user + system, (after.bot - before.bot) / wall
    ours = core + bot_core + (generator_after - generator_before) / wall
    others = max((after.machine - before.machine) / wall - ours, 0.0)
    difference = {key: counted_after[key] - counted.get(key, 0.0) for key in counted_after}
    late, skipped = difference["ticks_missed_total"], difference["packets_skipped_total"]
    rtp_lost = lost / (heard["sent"] + heard["heard"])
    concealed = difference["frames_concealed_total"] / (calls * wall / 0.02)
    return (
        f"| {name} | {calls} | {core:.2f} | {user:.2f} | {system:.2f} | {core / calls * 1000:.2f} "
        f"| {calls / core:.0f} | {bot_core:.2f} | {rtp_lost:.3%} | {heard['dropped']:.3%} | {concealed:.3%} "
        f"| {heard['p50_ms']:.1f} | {heard['p99_ms']:.1f} | {heard['max_ms']:.0f} "
        f"| {(rss - empty_rss) / calls / 1024:.0f} | {late / (wall / 0.005):.1%} "
        f"| {skipped:.0f} | {others:.2f} |"
    )


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", default="100,500,1000", help="by commas")
    parser.add_argument("--bots", default="builtin,trunk", help="builtin, trunk or both, by commas")
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    configure_logging("bench", level="error")
    print(f"| {COLUMNS} |", "|---" * (COLUMNS.count("|") + 1) + "|", sep="\n", flush=True)
    for name in arguments.bots.split(","):
        for calls in map(int, arguments.calls.split(",")):
            with contextlib.ExitStack() as stack:
                endpoint, pid = "builtin:echo", None
                if name == "trunk":
                    bot, fields = stack.enter_context(service("sipgw.bot.echo", "--listen", "127.0.0.1:0"))
                    endpoint, pid = fields["listen"], bot.pid
                flags = f"--rtp-ports {FIRST_PORT}-{FIRST_PORT + 2 * calls + 19} --bind 127.0.0.1"
                flags += " --admin 127.0.0.1:0 --drain-seconds 0"
                relay, ready = stack.enter_context(service("sipgw.media_relay", *flags.split()))
                ready["pid"] = relay.pid
                print(uvloop.run(run(name, endpoint, pid, calls, arguments.seconds, ready)), flush=True)


if __name__ == "__main__":
    main()
