"""Calls of 5 to 60 seconds come and go for half an hour, to see whether the relay gives everything back.

python bench/soak.py [--calls 500] [--minutes 30] [--lives 5-60] [--bot trunk|builtin] [--json FILE]

This process is the edge (relay/v1), the callers have their own process (bench/soak_callers.py), the relay
and the echo bot are the real ones. A line a minute. `late`: the share of ticks that ran more than 20 ms after
their time, by which a relay refuses calls; `tick late`: how late the latest tick began; `tick`: the
longest one, and the most CPU that one took; `loop CPU`: the most that the loop took for other work between
two ticks; `GC`: the CPU of the longest garbage collection; `waited`: how long the loop's thread was ready to
run and got no core, in all; `stolen`: what the host took from both, which counts as CPU of whoever ran; `own
timer`: how late a sleep of the callers' own process ended, which is the machine's doing as well; `gap`: the
longest time that a caller heard nothing.

A late tick is ours when that much CPU was taken by a tick, by the loop between two, or by a collection; or
when the machine explains less: when `waited` and `own timer` are both shorter by more than 50 ms. The rest is
then a wait for a disk or a lock.

Ends with status 1 when the memory of relay or bot grew by more than 2 % after the first five minutes (the
first third of a shorter run); when, 15 s after the last call, one of them has more sockets or threads, or the
relay more rows, ports or tasks, than after a first call, before the others; when more than 1 % of the calls
were refused, or fewer than 80 % stood; when more than 5 % of the callers' packets brought none back; or when
a tick was late by more than 50 ms by our doing.
"""

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import uvloop
from media.processes import read_metrics, service

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.control import RelayLink, RelayRefused, RelayUnreachable
from sipgw.runtime.free_ports import free_range
from sipgw.runtime.settings import new_identity
from sipgw.runtime.telemetry.logs import configure_logging

CALLERS = Path(__file__).with_name("soak_callers.py")
READY_S = 20.0
SAMPLE_S, ROW_S = 5.0, 60.0
SETTLE_S = 300.0
REST_S = 15.0
"""Ports rest for ten seconds after their call, and until they were silent for one."""
TICKS_A_SECOND = 200
MOST_GROWTH = 0.02
MOST_REFUSED = 0.01
LEAST_STANDING = 0.8
"""Of the calls asked for, by the median: a caller rests for a moment between two calls."""
MOST_LOST = 0.05
LATE_MS = 50.0
COLUMNS = (
    "minute | calls | placed | RSS MiB | fds | rows | ports in use | resting | tasks | threads | bot MiB "
    "| bot fds | relay core | late | tick late ms | tick ms | its CPU ms | loop CPU ms | GC ms | waited ms "
    "| stolen ms | own timer ms | gap ms | lost"
)


@dataclass
class Sample:
    """The resources that the relay holds, and the worst figures of some seconds."""

    at_s: float
    calls: int
    placed: int
    rss: int
    fds: int
    threads: int
    rows: int
    ports_used: int
    ports_resting: int
    tasks: int
    bot_rss: int
    bot_fds: int
    bot_threads: int
    core: float
    ticks_late: float
    tick_late_ms: float
    tick_ms: float
    tick_cpu_ms: float
    loop_cpu_ms: float
    gc_ms: float
    waited_ms: float
    stolen_ms: float
    own_late_ms: float
    gap_ms: float
    lost: float

    @property
    def is_late_by_us(self) -> bool:
        """Whether the latest tick was late and the machine does not explain it."""
        if self.tick_late_ms <= LATE_MS:
            return False
        ours_ms = max(self.tick_cpu_ms, self.loop_cpu_ms, self.gc_ms) - self.stolen_ms
        machines_ms = max(self.waited_ms + self.stolen_ms, self.own_late_ms)
        return ours_ms > LATE_MS or self.tick_late_ms - machines_ms > LATE_MS


@dataclass
class Heard:
    """The figures that the callers' process reported since the last sample."""

    sent: int = 0
    heard: int = 0
    gap_ms: float = 0.0
    late_ms: float = 0.0

    def add(self, said: dict[str, float]) -> None:
        self.sent += int(said["sent"])
        self.heard += int(said["heard"])
        self.gap_ms = max(self.gap_ms, said["gap_ms"])
        self.late_ms = max(self.late_ms, said["late_ms"])


class Callers:
    """The process of all callers."""

    def __init__(self, count: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, CALLERS, "--calls", str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.ports: list[int] = json.loads(self._process.stdout.readline())
        self._heard = Heard()

    async def follow(self) -> None:
        """Read what the process says, for ever."""
        assert self._process.stdout is not None
        while line := await asyncio.to_thread(self._process.stdout.readline):
            self._heard.add(json.loads(line))

    def take(self) -> Heard:
        taken, self._heard = self._heard, Heard()
        return taken

    def order(self, row: int, relay_port: int) -> None:
        """Have the caller talk to the port; 0: talk no more."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([row, relay_port]) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """End the process, and with it `follow`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@dataclass
class Population:
    """The calls, each followed by the next one of the same caller, and their edge."""

    callers: Callers
    relay: str
    bot: str
    lives_s: tuple[float, float]
    recordings: str
    placed: int = 0
    refused: int = 0
    live: int = 0
    _ready: dict[str, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._link = RelayLink(self.relay, new_identity("soak"), self._on_event, deadline_s=5.0)

    async def connect(self) -> None:
        await asyncio.wait_for(self._link.wait_connected(), READY_S)

    async def run_caller(self, row: int, until_s: float) -> None:
        """Call again and again. The first call lasts a random part of a life, so that ends are spread."""
        low, high = self.lives_s
        await asyncio.sleep(random.uniform(0, low))
        life_s = random.uniform(0, high)
        while time.monotonic() < until_s:
            await self.call(row, min(life_s, max(0.0, until_s - time.monotonic())))
            life_s = random.uniform(low, high)

    async def call(self, row: int, life_s: float) -> None:
        self.placed += 1
        call_id = f"soak-{self.placed}"
        self._ready[call_id] = asyncio.Event()
        try:
            allocated = await self._link.allocate(
                call_id, generation=1, owner_epoch=1, spec=self._spec(self.callers.ports[row])
            )
            await asyncio.wait_for(self._ready[call_id].wait(), READY_S)
            await self._link.start(call_id, generation=1, owner_epoch=1)
        except (RelayRefused, RelayUnreachable, TimeoutError) as error:
            self.refused += 1
            print(f"refused: {error or 'the bot did not become ready'}", file=sys.stderr)
            await asyncio.sleep(1.0)
            return
        finally:
            del self._ready[call_id]
        self.callers.order(row, allocated.rtp_port)
        self.live += 1
        await asyncio.sleep(life_s)
        self.live -= 1
        self.callers.order(row, 0)
        with contextlib.suppress(RelayUnreachable):  # the check at the end finds a call that is left
            await self._link.release(call_id, generation=2, owner_epoch=1, reason="over")

    async def aclose(self) -> None:
        await self._link.aclose()

    def _spec(self, port: int) -> pb.Allocate:
        media = pb.MediaSpec(
            remote_address="127.0.0.1", remote_rtp_port=port, codec=config_pb2.AUDIO_CODEC_PCMU, ptime_ms=20
        )
        recording = pb.RecordingSpec(path=self.recordings) if self.recordings else None
        return pb.Allocate(
            media=media,
            bot=pb.BotSpec(endpoint=self.bot, playout=config_pb2.PLAYOUT_LIVE),
            recording=recording,
        )

    def _on_event(self, event: pb.MediaEvent) -> None:
        kind = event.WhichOneof("event")
        if kind == "bot_failed":
            sys.exit(f"the bot failed: {event.bot_failed.reason}")
        if kind == "bot_ready" and event.call_id in self._ready:
            self._ready[event.call_id].set()


class Watch:
    """Samples the relay's process, its metrics, and the bot's process, if it has one."""

    def __init__(self, ready: dict[str, Any], bot_pid: int, population: Population, pairs: int) -> None:
        self._process = psutil.Process(ready["pid"])
        self._bot = psutil.Process(bot_pid) if bot_pid else None
        self._waits = Path(
            f"/proc/{ready['pid']}/schedstat"
        )  # of the process's first thread, which has the loop
        self._waited_ms = self._read_waited_ms()
        self._stolen_ms = psutil.cpu_times().steal * 1000
        self._ticks_late = 0.0
        self._admin = ready["admin"]
        self._population = population
        self._pairs = pairs
        self._begun_s = self._at_s = time.monotonic()
        self._cpu_s = sum(self._process.cpu_times()[:2])

    async def sample(self) -> Sample:
        fds = self._process.num_fds()  # before our own connection counts
        counted = await asyncio.to_thread(read_metrics, self._admin)
        now_s, cpu_s = time.monotonic(), sum(self._process.cpu_times()[:2])
        elapsed_s = max(now_s - self._at_s, 0.001)
        core = (cpu_s - self._cpu_s) / elapsed_s
        self._at_s, self._cpu_s = now_s, cpu_s
        heard = self._population.callers.take()
        waited_ms = self._read_waited_ms()
        waited_before_ms, self._waited_ms = self._waited_ms, waited_ms
        stolen_ms = psutil.cpu_times().steal * 1000
        stolen_before_ms, self._stolen_ms = self._stolen_ms, stolen_ms
        resting = int(counted["ports_resting"])
        return Sample(
            at_s=now_s - self._begun_s,
            calls=int(counted["calls"]),
            placed=self._population.placed,
            rss=self._process.memory_info().rss,
            fds=fds,
            threads=self._process.num_threads(),
            rows=int(counted["rows"]),
            ports_used=self._pairs - int(counted["ports_free"]) - resting,
            ports_resting=resting,
            tasks=int(counted["tasks"]),
            bot_rss=self._bot.memory_info().rss if self._bot else 0,
            bot_fds=self._bot.num_fds() if self._bot else 0,
            bot_threads=self._bot.num_threads() if self._bot else 0,
            core=core,
            ticks_late=self._share_late(counted["ticks_late_total"], elapsed_s),
            tick_late_ms=counted["tick_latest_seconds"] * 1000,
            tick_ms=counted["tick_longest_seconds"] * 1000,
            tick_cpu_ms=counted["tick_longest_cpu_seconds"] * 1000,
            loop_cpu_ms=counted["loop_longest_cpu_seconds"] * 1000,
            gc_ms=counted["gc_longest_seconds"] * 1000,
            waited_ms=waited_ms - waited_before_ms,
            stolen_ms=stolen_ms - stolen_before_ms,
            own_late_ms=heard.late_ms,
            gap_ms=heard.gap_ms,
            lost=max(0.0, 1 - heard.heard / heard.sent) if heard.sent else 0.0,
        )

    def _share_late(self, ticks_late: float, elapsed_s: float) -> float:
        """Return the share of the ticks since the last sample that ran more than 20 ms late."""
        late, self._ticks_late = ticks_late - self._ticks_late, ticks_late
        return late / (elapsed_s * TICKS_A_SECOND)

    def _read_waited_ms(self) -> float:
        """Return how long the loop's thread has been ready without a core (schedstat of proc(5))."""
        return int(self._waits.read_text().split()[1]) / 1e6


def row_of(samples: list[Sample]) -> str:
    """Return the line of some samples: the last one's holdings, the worst of all."""
    last = samples[-1]
    names = (
        "tick_late_ms",
        "tick_ms",
        "tick_cpu_ms",
        "loop_cpu_ms",
        "gc_ms",
        "waited_ms",
        "stolen_ms",
        "own_late_ms",
        "gap_ms",
    )
    worst = [max(getattr(one, name) for one in samples) for name in names]
    core = statistics.mean(one.core for one in samples)
    lost = statistics.mean(one.lost for one in samples)
    return (
        f"| {last.at_s / 60:.1f} | {last.calls} | {last.placed} | {last.rss / 2**20:.1f} | {last.fds} "
        f"| {last.rows} | {last.ports_used} | {last.ports_resting} | {last.tasks} | {last.threads} "
        f"| {last.bot_rss / 2**20:.1f} | {last.bot_fds} | {core:.2f} "
        f"| {statistics.mean(one.ticks_late for one in samples):.1%} "
        f"| {' | '.join(f'{one:.0f}' for one in worst)} | {lost:.2%} |"
    )


def growth_of(samples: list[Sample], of: str) -> float:
    """Return how much a memory, `rss` or `bot_rss`, grew from the first to the last fifth after settling."""
    length_s = samples[-1].at_s
    settled = [one for one in samples if one.at_s >= min(SETTLE_S, length_s / 3)]
    fifth = max(1, len(settled) // 5)
    first, last = (
        statistics.median(getattr(one, of) for one in part) for part in (settled[:fifth], settled[-fifth:])
    )
    return last / first - 1 if first else 0.0


def not_returned(before: Sample, after: Sample) -> list[str]:
    """Name what the relay still holds after its last call."""
    names = (
        "calls",
        "fds",
        "threads",
        "rows",
        "ports_used",
        "ports_resting",
        "tasks",
        "bot_fds",
        "bot_threads",
    )
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in names)
    return [f"{name}: {now}, at the beginning {then}" for name, then, now in pairs if now > then]


async def watch_calls(watch: Watch, population: Population, calls: int, seconds: float) -> list[Sample]:
    """Run the calls, and print a line a minute."""
    until_s = time.monotonic() + seconds
    samples: list[Sample] = []
    printed = 0
    async with asyncio.TaskGroup() as group:
        for row in range(calls):
            group.create_task(population.run_caller(row, until_s))
        while (left_s := until_s - time.monotonic()) > 0:
            await asyncio.sleep(min(SAMPLE_S, left_s))
            samples.append(await watch.sample())
            if samples[-1].at_s - (samples[printed - 1].at_s if printed else 0.0) >= ROW_S:
                print(row_of(samples[printed:]), flush=True)
                printed = len(samples)
    return samples


async def soak(arguments: argparse.Namespace, bot: tuple[str, int], ready: dict[str, Any], pairs: int) -> int:
    """Run it against that relay and the bot (address, process id or 0), and return the exit status."""
    endpoint, bot_pid = bot
    callers = Callers(arguments.calls)
    following = asyncio.create_task(callers.follow())
    lives = tuple(float(part) for part in arguments.lives.split("-"))
    population = Population(callers, ready["listen"], endpoint, (lives[0], lives[1]), arguments.recordings)
    watch = Watch(ready, bot_pid, population, pairs)
    try:
        await population.connect()
        await watch.sample()  # the worst of the start-up is left out
        await population.call(0, 1.0)
        await asyncio.sleep(REST_S)
        before = await watch.sample()
        samples = await watch_calls(watch, population, arguments.calls, arguments.minutes * 60)
        await asyncio.sleep(REST_S)
        after = await watch.sample()
    finally:
        callers.end()
        await following
        await population.aclose()
    return judge(arguments, before, samples, after, population)


def judge(
    arguments: argparse.Namespace,
    before: Sample,
    samples: list[Sample],
    after: Sample,
    population: Population,
) -> int:
    """Print the verdict, write the JSON, and return the exit status."""
    growth, bot_growth = growth_of(samples, "rss"), growth_of(samples, "bot_rss")
    kept = not_returned(before, after)
    ours = [one for one in samples if one.is_late_by_us]
    late = [one for one in samples if one.tick_late_ms > LATE_MS]
    standing = statistics.median(one.calls for one in samples) / arguments.calls
    lost = statistics.mean(one.lost for one in samples)
    faults = {
        f"the relay's memory grew by {growth:.1%}": growth > MOST_GROWTH,
        f"the bot's memory grew by {bot_growth:.1%}": bot_growth > MOST_GROWTH,
        "; ".join(kept): bool(kept),
        f"{population.refused} of {population.placed} calls were refused": population.refused
        > MOST_REFUSED * population.placed,
        f"only {standing:.0%} of the calls stood": standing < LEAST_STANDING,
        f"{lost:.1%} of the packets brought none back": lost > MOST_LOST,
        f"a tick was late by our doing in {len(ours)} windows": bool(ours),
    }
    print(
        f"\n{population.placed} calls, {population.refused} refused. Memory {samples[0].rss / 2**20:.1f} to "
        f"{samples[-1].rss / 2**20:.1f} MiB, growth after settling {growth:.1%}; the bot's {bot_growth:.1%}. "
        f"Windows of {SAMPLE_S:.0f} s "
        f"with a tick over {LATE_MS:.0f} ms late: {len(late)} of {len(samples)}; "
        f"by our doing: {len(ours)}."
    )
    print(f"At the end: {'everything returned' if not kept else '; '.join(kept)}.")
    if arguments.json:
        result = {
            "arguments": vars(arguments),
            "growth": growth,
            "bot_growth": bot_growth,
            "faults": [fault for fault, is_so in faults.items() if is_so],
            "not_returned": kept,
            "late_windows": len(late),
            "late_windows_of_ours": len(ours),
            "refused": population.refused,
            "before": asdict(before),
            "after": asdict(after),
            "samples": [asdict(one) for one in samples],
        }
        Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    for fault in (fault for fault, is_so in faults.items() if is_so):
        print(f"FAILED: {fault}")
    if not any(faults.values()):
        print("passed")
    return int(any(faults.values()))


def main() -> None:
    """Print a markdown table and the verdict."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--lives", default="5-60", help="seconds, shortest and longest")
    parser.add_argument("--bot", default="trunk", choices=["trunk", "builtin"])
    parser.add_argument("--recordings", default="", help="a directory; empty: nothing is recorded")
    parser.add_argument("--json", default="", help="a file for all samples")
    arguments = parser.parse_args()
    configure_logging("bench", level="error")
    pairs = arguments.calls * 2 + 50  # ports of ended calls rest
    first = free_range(2 * pairs)
    with contextlib.ExitStack() as stack:
        bot = ("builtin:echo", 0)
        if arguments.bot == "trunk":
            process, fields = stack.enter_context(service("sipgw.bot.echo", "--listen", "127.0.0.1:0"))
            bot = (fields["listen"], process.pid)
        flags = f"--rtp-ports {first}-{first + 2 * pairs - 1} --bind 127.0.0.1"
        flags += " --admin 127.0.0.1:0 --drain-seconds 0"
        relay, ready = stack.enter_context(service("sipgw.media_relay", *flags.split()))
        ready["pid"] = relay.pid
        print(f"| {COLUMNS} |", "|---" * (COLUMNS.count("|") + 1) + "|", sep="\n", flush=True)
        status = uvloop.run(soak(arguments, bot, ready, pairs))
    sys.exit(status)


if __name__ == "__main__":
    main()
