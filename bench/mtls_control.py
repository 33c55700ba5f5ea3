"""The cost of mTLS on relay/v1: one edge's stream to one relay, in plaintext and with mTLS.

python bench/mtls_control.py [--commands 5000]

CPU of both ends for a command and its result, alone and a hundred at once, and for a new connection.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import uvloop

from sipgw.api.calls.v1.session_pb2 import ProcessIdentity
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.api.relay.v1.control_pb2_grpc import (
    RelayControlServiceServicer,
    add_RelayControlServiceServicer_to_server,
)
from sipgw.control import RelayLink
from sipgw.runtime.grpc_server import GrpcServer
from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry.logs import configure_logging
from sipgw.runtime.testing import TestAuthority
from sipgw.runtime.tls import TlsDirectory

AT_ONCE = 100
CONNECTIONS = 50


class Relay(RelayControlServiceServicer):
    """A relay that says OK to everything."""

    async def Control(self, request_iterator, context) -> AsyncIterator[pb.ControlResponse]:
        async for request in request_iterator:
            if request.HasField("attach"):
                me = ProcessIdentity(name="relay", incarnation="i")
                yield pb.ControlResponse(attached=pb.Attached(relay=me))
            elif request.HasField("commands"):
                results = [
                    pb.CommandResult(command_id=one.command_id, status=pb.COMMAND_STATUS_OK)
                    for one in request.commands.commands
                ]
                yield pb.ControlResponse(results=pb.ResultBatch(results=results))


async def cpu_us(work: Callable[[], Awaitable[object]], count: int) -> float:
    """Return the CPU time of the process for each of `count`."""
    began = time.process_time()
    await work()
    return (time.process_time() - began) / count * 1e6


async def measure(name: str, server: TlsDirectory | None, client: TlsDirectory | None, commands: int) -> None:
    """Print one line of the table."""
    grpc_server = GrpcServer("127.0.0.1:0", tls=server)
    grpc_server.add(
        Relay(), add_RelayControlServiceServicer_to_server, "sipgw.api.relay.v1.RelayControlService"
    )
    address = f"127.0.0.1:{await grpc_server.start()}"

    def open_link() -> RelayLink:
        return RelayLink(address, Identity("edge", "i"), lambda _: None, deadline_s=10, tls=client)

    async def connect() -> None:
        for _ in range(CONNECTIONS):
            link = open_link()
            await link.wait_connected()
            await link.aclose()

    link = open_link()
    await link.wait_connected()

    async def start(number: int) -> None:
        await link.start(str(number), generation=1, owner_epoch=1)

    async def alone() -> None:
        for number in range(commands):
            await start(number)

    async def together() -> None:
        for first in range(0, commands, AT_ONCE):
            await asyncio.gather(*(start(first + number) for number in range(AT_ONCE)))

    await together()
    single, batched = await cpu_us(alone, commands), await cpu_us(together, commands)
    connection = await cpu_us(connect, CONNECTIONS)
    print(f"| {name} | {single:.0f} | {batched:.0f} | {connection / 1000:.1f} |", flush=True)
    await link.aclose()
    await grpc_server.stop(0)


async def main() -> None:
    """Print both lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", type=int, default=5000)
    commands = parser.parse_args().commands
    configure_logging("bench", level="warning")
    print("| link | µs a command alone | µs a command of a hundred | ms a connection |\n|---|---|---|---|")
    authority = TestAuthority()
    with tempfile.TemporaryDirectory() as directory:
        relay, edge = (
            TlsDirectory(authority.write_leaf(Path(directory) / role, role)) for role in ("relay", "edge")
        )
        for _ in range(2):
            await measure("plaintext", None, None, commands)
            await measure("mTLS", relay, edge, commands)


if __name__ == "__main__":
    uvloop.run(main())
