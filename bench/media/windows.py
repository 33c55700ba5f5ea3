"""Measure one window: of the floor, or of a relay that is started for it."""

import asyncio
import contextlib
import math
import tempfile
from dataclasses import dataclass
from typing import Any

import psutil

from media.edge import Edge
from media.figures import Heard, Histogram, heard
from media.native import Native
from media.processes import Program, program, read_metrics, service
from media.readings import Spent, dropped_datagrams, read, spent
from media.series import Series
from sipgw.runtime.free_ports import free_range, give_back

_WARM_UP_S, _TAIL_S = 4.0, 1.5


@dataclass(frozen=True, slots=True)
class Bench:
    """The settings that all windows share. The bot, the callers and this process share `callers_core`."""

    native: Native
    seconds: float
    relay_core: int
    callers_core: int


@dataclass(frozen=True, slots=True)
class FloorWindow:
    """The floor with some calls."""

    calls: int
    spent: Spent
    heard: Heard
    timer: Histogram


@dataclass(frozen=True, slots=True)
class RelayWindow:
    """A relay with the calls that it did not refuse."""

    asked: int
    refusals: dict[str, int]
    spent: Spent
    bot_core: float
    callers_core: float
    heard: Heard
    rss_kib_a_call: float
    tick_late_ms: float
    """The latest tick, by the relay's own clock."""
    tick_cpu_ms: float
    received_in_all: int
    """Packets that the relay counted, those of the warm-up too."""
    takes_more: bool
    """Whether the relay would have taken another call at the end of the window."""
    counted: dict[str, float]
    """The relay's own counters over the window."""

    @property
    def calls(self) -> int:
        """The calls that were set up."""
        return self.asked - sum(self.refusals.values())


async def measure_floor(bench: Bench, calls: int) -> FloorWindow:
    """Measure the floor with so many calls."""
    async with (
        _callers(bench, calls) as callers,
        program(bench.native.floor, calls, core=bench.relay_core) as floor,
    ):
        ports, floor_ports = (await callers.read())["ports"], (await floor.read())["ports"]
        await floor.tell(*ports)
        await floor.read()  # it is connected
        await callers.tell(*floor_ports)
        process = psutil.Process(floor.pid)
        await callers.read()  # the measured time begins
        await floor.tell()
        await floor.read()  # the timer's lateness before the window
        dropped = dropped_datagrams({*floor_ports}), dropped_datagrams({*ports})
        before = read(process, bench.relay_core)
        await callers.read()  # and ends
        after = read(process, bench.relay_core)
        await floor.tell()
        timer = (await floor.read())["timer"]
        said = await callers.read()
        return FloorWindow(
            calls,
            spent(before, after),
            heard(
                said,
                dropped_there=dropped_datagrams({*floor_ports}) - dropped[0],
                dropped_here=dropped_datagrams({*ports}) - dropped[1],
            ),
            Histogram.of(timer),
        )


async def measure_relay(bench: Bench, series: Series, calls: int) -> RelayWindow:
    """Start a relay, and a bot where the series has one, and measure them with so many calls."""
    size = 2 * (calls + 10)
    first = free_range(size)
    with contextlib.ExitStack() as stack:
        stack.callback(give_back, first, size)
        recordings = stack.enter_context(tempfile.TemporaryDirectory(prefix="sipgw-recordings-"))
        bot = {"listen": "builtin:echo", "pid": None}
        if series.has_bot:
            echo = service("sipgw.bot.echo", "--listen", "127.0.0.1:0", core=bench.callers_core)
            bot = stack.enter_context(echo)[1]
        flags = (
            f"--rtp-ports {first}-{first + size - 1} --bind 127.0.0.1 --admin 127.0.0.1:0 --drain-seconds 0"
        )
        relay = stack.enter_context(service("sipgw.media_relay", *flags.split(), core=bench.relay_core))[1]
        edge = Edge(relay["listen"], series, bot["listen"], recordings)
        async with contextlib.aclosing(edge), _callers(bench, calls) as callers:
            return await _measure(bench, callers, edge, relay, bot)


async def _measure(
    bench: Bench, callers: Program, edge: Edge, relay: dict[str, Any], bot: dict[str, Any]
) -> RelayWindow:
    pids = {"relay": relay["pid"], "callers": callers.pid, "bot": bot["pid"]}
    processes = {name: psutil.Process(pid) for name, pid in pids.items() if pid}
    empty_rss = processes["relay"].memory_info().rss
    ports = (await callers.read())["ports"]
    relay_ports = await edge.set_up(ports)
    if not any(relay_ports):
        raise SystemExit(f"none of {len(ports)} calls was set up: {dict(edge.refusals)}")
    await callers.tell(*relay_ports)
    await callers.read()  # the measured time begins
    counted = await asyncio.to_thread(read_metrics, relay["admin"])
    dropped = dropped_datagrams({*relay_ports}), dropped_datagrams({*ports})
    before = {name: read(each, bench.relay_core) for name, each in processes.items()}
    await callers.read()  # and ends
    spent_by = {name: spent(before[name], read(each, bench.relay_core)) for name, each in processes.items()}
    rss = processes["relay"].memory_info().rss
    counted_after = await asyncio.to_thread(read_metrics, relay["admin"])
    said = await callers.read()
    return RelayWindow(
        asked=len(ports),
        refusals=dict(edge.refusals),
        spent=spent_by["relay"],
        bot_core=spent_by["bot"].core if "bot" in spent_by else 0.0,
        callers_core=spent_by["callers"].core,
        heard=heard(
            said,
            dropped_there=dropped_datagrams({*relay_ports}) - dropped[0],
            dropped_here=dropped_datagrams({*ports}) - dropped[1],
        ),
        rss_kib_a_call=(rss - empty_rss) / 1024 / max(1, len(ports) - edge.refusals.total()),
        tick_late_ms=counted_after.get("tick_latest_seconds", math.nan) * 1000,
        tick_cpu_ms=counted_after.get("tick_longest_cpu_seconds", math.nan) * 1000,
        received_in_all=await edge.packets_received(),
        takes_more=not (counted_after.get("full") or counted_after.get("late")),
        counted={
            name.removesuffix("_total"): value - counted.get(name, 0.0)
            for name, value in counted_after.items()
            if name.endswith("_total")
        },
    )


def _callers(bench: Bench, calls: int) -> contextlib.AbstractAsyncContextManager[Program]:
    return program(bench.native.callers, calls, bench.seconds, _WARM_UP_S, _TAIL_S, core=bench.callers_core)
