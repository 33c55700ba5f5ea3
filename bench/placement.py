"""The registry's placement under many edges' requests, beside 200 relays with heartbeats each second.

python bench/placement.py --rates 1000,2500,5000 --relays 200 --seconds 10

A real `sipgw-registry` (or two) and a real Redis, asked through gRPC streams as edges do: each of `--edges`
sends the commands of the last 10 ms as one batch. A placement is a Reserve, a Confirm and, when the call
ends, a Release. Latency is that of Reserve, from its due time to its answer. The relays have their own
process.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import psutil

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1 import registry_pb2_grpc as services
from sipgw.calls import random_call_id
from sipgw.store.testing import RedisServer

BATCH_S = 0.01
CALL_S = 2.0


@dataclass
class Measured:
    """The results of one rate."""

    placed: int = 0
    refused: int = 0
    latencies_ms: list[float] = field(default_factory=list[float])
    late_batches: int = 0


class Registry:
    """A `sipgw-registry` process."""

    def __init__(self, redis_url: str) -> None:
        command = [sys.executable, "-m", "sipgw.registry", "--listen", "127.0.0.1:0", "--redis", redis_url]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        events = (json.loads(line) for line in self.process.stderr)
        self.address = str(next(event["listen"] for event in events if event["event"] == "ready"))

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)


async def relay(address: str, number: int, capacity: int, calls: int) -> None:
    """Register and send a heartbeat each second, reporting `calls` calls, like a relay that is half full."""
    registration = pb.RelayRegistration(
        control_address="127.0.0.1:1", ordinal=number // 4, lane=number % 4, capacity_units=capacity
    )
    registration.relay.name, registration.relay.incarnation = f"relay-{number}", f"i{number}"
    reported = [random_call_id() for _ in range(calls)]
    beat = pb.HeartbeatRequest(call_ids=reported, used_units=calls, ports_free=capacity)
    first = pb.HeartbeatRequest()
    first.CopyFrom(beat)
    first.registration.CopyFrom(registration)
    async with grpc.aio.insecure_channel(address) as channel:
        stream = services.RelayRegistrationServiceStub(channel).Heartbeat()
        await asyncio.sleep(number / 200)
        await stream.write(first)
        while True:
            await stream.read()
            await asyncio.sleep(1.0)
            await stream.write(beat)


class Edge:
    """One stream, with a batch each 10 ms of new calls, calls to confirm and calls that end."""

    def __init__(self, address: str, rate: float, measured: Measured) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._stream = services.PlacementServiceStub(self._channel).Place()
        self._rate = rate
        self._measured = measured
        self._due: list[tuple[float, dict[str, float]]] = []
        self._confirm: list[tuple[str, str]] = []
        self._ends: list[tuple[float, str, str]] = []
        self._owed = 0.0

    async def run(self, seconds: float) -> None:
        """Send for `seconds`, at the pace of the clock."""
        reader = asyncio.create_task(self._read())
        begun = time.perf_counter()
        for number in range(int(seconds / BATCH_S)):
            due = begun + number * BATCH_S
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            self._measured.late_batches += pause < -BATCH_S
            await self._stream.write(self._batch(due))
        await self._stream.done_writing()
        await reader
        await self._channel.close()

    def _batch(self, due: float) -> pb.PlaceRequest:
        self._owed += self._rate * BATCH_S
        calls = {random_call_id(): due for _ in range(int(self._owed))}
        self._owed -= len(calls)
        commands = [
            pb.PlacementCommand(command_id=1, call_id=call, action=pb.PLACEMENT_ACTION_RESERVE, cost_units=1)
            for call in calls
        ]
        confirms, self._confirm = self._confirm, []
        self._ends += [(due + CALL_S, call, relay) for call, relay in confirms]
        ended = [one for one in self._ends if one[0] <= due]
        self._ends = self._ends[len(ended) :]
        for action, pairs in (
            (pb.PLACEMENT_ACTION_CONFIRM, confirms),
            (pb.PLACEMENT_ACTION_RELEASE, [(call, relay) for _, call, relay in ended]),
        ):
            commands += [
                pb.PlacementCommand(command_id=2, call_id=call, action=action, relay_incarnation=relay)
                for call, relay in pairs
            ]
        self._due.append((due, calls))
        return pb.PlaceRequest(commands=commands)

    async def _read(self) -> None:
        async for answer in self._stream:
            now = time.perf_counter()
            due, calls = self._due.pop(0)
            for call, result in zip(calls, answer.results, strict=False):
                if result.placed:
                    self._measured.placed += 1
                    self._measured.latencies_ms.append((now - due) * 1000)
                    self._confirm.append((call, result.placement.relay.incarnation))
                else:
                    self._measured.refused += 1


async def all_relays(addresses: list[str], options: argparse.Namespace) -> None:
    """Run all relays, spread over the registries."""
    beats = (
        relay(addresses[n % len(addresses)], n, options.capacity, options.calls_a_relay)
        for n in range(options.relays)
    )
    await asyncio.gather(*beats)


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def run_relays(addresses: list[str], options: argparse.Namespace) -> None:
    """Run as the main of the relays' process."""
    with contextlib.suppress(grpc.aio.AioRpcError):  # the registries have ended
        asyncio.run(all_relays(addresses, options))


async def measure(options: argparse.Namespace) -> None:
    """Print a line for each rate."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(RedisServer(directory))
        registries = [Registry(server.url) for _ in range(options.registries)]
        for one in registries:
            stack.callback(one.end)
        processes = {"registry": [psutil.Process(one.process.pid) for one in registries]}
        processes["redis"] = [
            child for child in psutil.Process().children() if "redis-server" in child.name()
        ]
        addresses = [one.address for one in registries]
        beating = multiprocessing.get_context("spawn").Process(
            target=run_relays, args=(addresses, options), daemon=True
        )
        beating.start()
        stack.callback(beating.terminate)
        await asyncio.sleep(6.0)
        processes["edges"] = [psutil.Process()]
        print("| asked/s | placed/s | refused | p50 ms | p99 ms | registry core | redis | edges | late |")
        print("|---|---|---|---|---|---|---|---|---|")
        for rate in options.rates:
            await one_rate(rate, addresses, processes, options)


async def one_rate(
    rate: int, addresses: list[str], processes: dict[str, list[psutil.Process]], options: argparse.Namespace
) -> None:
    """Measure `rate` and print the results."""
    measured = Measured()
    edges = [
        Edge(addresses[n % len(addresses)], rate / options.edges, measured) for n in range(options.edges)
    ]
    before = {name: sum(map(cpu_s, group)) for name, group in processes.items()}
    begun = time.perf_counter()
    await asyncio.gather(*(edge.run(options.seconds) for edge in edges))
    took = time.perf_counter() - begun
    cores = {name: (sum(map(cpu_s, group)) - before[name]) / took for name, group in processes.items()}
    quantiles: Any = statistics.quantiles(measured.latencies_ms or [0.0, 0.0], n=100)
    print(
        f"| {rate} | {measured.placed / took:.0f} | {measured.refused} | {quantiles[49]:.1f} "
        f"| {quantiles[98]:.1f} | {cores['registry']:.2f} | {cores['redis']:.2f} | {cores['edges']:.2f} "
        f"| {measured.late_batches} |",
        flush=True,
    )
    await asyncio.sleep(CALL_S)


def numbers(text: str) -> list[int]:
    """Read "1,2,3"."""
    return [int(one) for one in text.split(",")]


def main() -> None:
    """Measure each rate after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=numbers, default=[1000, 2500, 5000])
    parser.add_argument("--relays", type=int, default=200)
    parser.add_argument("--capacity", type=int, default=800, help="cost units of a relay")
    parser.add_argument("--calls-a-relay", type=int, default=400, help="that each relay reports each second")
    parser.add_argument("--edges", type=int, default=4)
    parser.add_argument("--registries", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
