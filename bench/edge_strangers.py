"""Measure the cost of floods from strangers to one edge, and their effect on honest callers.

python bench/edge_strangers.py [--noise 10000] [--invites 500] [--seconds 8] [--kinds garbage,invite,...]

For each kind: `--noise` datagrams per second from 127.0.0.66 (or from many addresses of 127.64.0.0/10), with
`--invites` INVITEs per second from 127.0.0.65 beside them, and honest calls (INVITE, ACK, BYE): from
127.0.0.1, which is trusted, and from a neighbour, 127.0.0.2, a stranger too (in a trunk where passwords are
guessed). The edge's CPU for the noise is stated in cores, less that of the honest calls without any noise,
and as a multiple of a bare uvloop reader of the same noise in the same run: a process that reads each
datagram and does nothing. Finally, the edge's memory before and after datagrams of 200,000 sources.
"""

import argparse
import asyncio
import base64
import contextlib
import http.client
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from edge_setup_rate import anonymous_kib, start_gateway

from sipgw.siptest import SipPhone, SipTestError

NOISY, FLOODER, NEIGHBOUR = "127.0.0.66", "127.0.0.65", "127.0.0.2"
STEP_S = 0.005
HONEST_PER_S = 4  # of each honest caller
SOURCES = 200_000
HEADERS = (
    "Via: SIP/2.0/UDP {mine}:5060;branch=z9hG4bK{number:x};rport\r\nFrom: <sip:x@{mine}>;tag={number}\r\n"
    "To: <sip:echo@x>{tag}\r\nCall-ID: {number}@{mine}\r\nCSeq: 1 {method}\r\n"
    "Contact: <sip:x@{mine}>\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
)
DIGEST = (
    'Authorization: Digest username="a", realm="sipgw", nonce="{nonce}", '
    'uri="sip:x", response="00000000000000000000000000000000", qop=auth, cnonce="c", nc=00000001\r\n'
)
TRUNKS = """
---
apiVersion: sipgw.io/v1alpha1
kind: SipTrunk
metadata: {name: known}
spec: {sourceCidrs: [127.0.0.1, 127.0.0.2]}
---
apiVersion: sipgw.io/v1alpha1
kind: SipTrunk
metadata: {name: pbx}
spec: {auth: {digest: {username: a, secretRef: {name: pbx}}}}
---
apiVersion: v1
kind: Secret
metadata: {name: pbx}
stringData: {password: correct horse}
"""  # for passwords: no open trunk may stand beside one with digest
OUR_KIND_OF_TAG = ";tag=0123456789abcdef0123456789abcdef.0123456789abcdef"


def made_up_nonce() -> str:
    """Make a nonce that looks like ours, with a time, so that its check takes longest."""
    return base64.urlsafe_b64encode(int(time.time() * 1000).to_bytes(6) + b"?" * 21).decode()


@dataclass(frozen=True)
class Kind:
    """One kind of noise; `sources` addresses send it in turn."""

    name: str
    method: str = ""
    tag: str = ""
    more: str = ""
    sources: int = 1

    def datagram(self, number: int, mine: str) -> bytes:
        if not self.method:
            return b"\x00\x01noise" * 60
        fields = {"number": number, "mine": mine, "tag": self.tag, "method": self.method, "more": self.more}
        fields["more"] = self.more.replace("{nonce}", made_up_nonce())
        start = "SIP/2.0 200 OK" if self.method == "response" else f"{self.method} sip:echo@127.0.0.1 SIP/2.0"
        return f"{start}\r\n{HEADERS.format(**fields)}".encode()


KINDS = (
    Kind("garbage"),
    Kind("options", "OPTIONS"),
    Kind("invite", "INVITE"),
    Kind("password", "INVITE", more=DIGEST),
    Kind("ack", "ACK"),
    Kind("bye", "BYE", tag=OUR_KIND_OF_TAG),
    Kind("response", "response"),
    Kind("garbage-100", sources=100),
    Kind("options-5000", "OPTIONS", sources=5000),
)

READER = """
import asyncio, socket, uvloop
async def main():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    one.setblocking(False)
    one.bind(("127.0.0.1", 0))
    def drain():
        for _ in range(64):
            try:
                one.recvfrom(65535)
            except BlockingIOError:
                return
    asyncio.get_running_loop().add_reader(one.fileno(), drain)
    print(one.getsockname()[1], flush=True)
    await asyncio.Event().wait()
uvloop.run(main())
"""


def many_sources(number: int) -> str:
    """Return address `number` of 127.64.0.0/10."""
    return f"127.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def send_steadily(kind: Kind, target: tuple[str, int], rate: int, seconds: float, host: str) -> int:
    """Send `rate` datagrams per second; return how many were sent."""
    hosts = [host] if kind.sources == 1 else [many_sources(number) for number in range(kind.sources)]
    ready = [kind.datagram(number, hosts[number % len(hosts)]) for number in range(20_000)]
    senders = []
    for one in hosts[:900]:  # open files are limited, so this many addresses send in turn
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((one, 0))
        senders.append(sender)
    moving = hosts[900:]
    sent, begun = 0, time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds:
        for number in range(sent, int(elapsed * rate)):
            data, place = ready[number % len(ready)], number % len(hosts)
            if place < len(senders):
                senders[place].sendto(data, target)
            else:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.bind((moving[place - len(senders)], 0))
                    sender.sendto(data, target)
        sent = int(elapsed * rate)
        time.sleep(STEP_S)
    for sender in senders:
        sender.close()
    return sent


def sender_process(
    kind: str, target: tuple[str, int], rate: int, seconds: float, host: str
) -> subprocess.Popen[bytes]:
    """Run `send_steadily` in its own process."""
    words = [kind, target[0], str(target[1]), str(rate), str(seconds), host]
    return subprocess.Popen([sys.executable, __file__, "--send", *words], stdout=subprocess.PIPE)


async def call_steadily(host: str, target: tuple[str, int], seconds: float) -> tuple[int, int]:
    """Begin honest calls one after the other; return how many were answered, and of how many."""
    loop = asyncio.get_running_loop()
    async with await SipPhone.open(host) as phone:

        async def one() -> bool:
            try:
                call = await phone.call(f"sip:echo@{target[0]}:{target[1]}", timeout_s=20)
                await call.hangup()
            except SipTestError as error:
                sys.stderr.write(f"{host}: {error}\n")
                return False
            return True

        calls: list[asyncio.Task[bool]] = []
        end = loop.time() + seconds
        while loop.time() < end:
            calls.append(asyncio.create_task(one()))
            await asyncio.sleep(1 / HONEST_PER_S)
        answered = await asyncio.gather(*calls)
    return sum(answered), len(answered)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process by the scheduler's clock: it wakes too briefly for ticks."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


_READ = re.compile(r"^sipgw_edge_datagrams_received_total (\d\S*)", re.MULTILINE)


def edge_of(up: subprocess.Popen[str], port: int) -> psutil.Process:
    """Return the process that has the SIP port; its guard has the same words in its command."""
    family = psutil.Process(up.pid).children(recursive=True)
    return next(one for one in family if any(c.laddr.port == port for c in one.net_connections("udp")))


def received(edge: psutil.Process) -> float:
    """Return how many datagrams the edge has read, by its metrics."""
    ports = [one.laddr.port for one in edge.net_connections("tcp4") if one.status == psutil.CONN_LISTEN]
    for port in ports:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/metrics")
            found = _READ.search(connection.getresponse().read().decode())
            if found:
                return float(found[1])
    raise SystemExit(f"none of the edge's ports {ports} shows its metrics")


async def measure(
    kind: Kind | None, up: subprocess.Popen[str], target: tuple[str, int], options: argparse.Namespace
) -> tuple[float, list[tuple[int, int]], float]:
    """Return the edge's cores, the results of the honest calls, and the datagrams read per second."""
    senders: list[subprocess.Popen[bytes]] = []
    if kind is not None:
        senders.append(sender_process(kind.name, target, options.noise, options.seconds + 1, NOISY))
        senders.append(sender_process("invite", target, options.invites, options.seconds + 1, FLOODER))
    await asyncio.sleep(1.0)  # both are under way, and banned
    edge = edge_of(up, target[1])
    before, read, begun = cpu_s(edge.pid), received(edge), time.monotonic()
    calls = [call_steadily(host, target, options.seconds - 1) for host in ("127.0.0.1", NEIGHBOUR)]
    honest = await asyncio.gather(*calls)
    elapsed = time.monotonic() - begun
    cores, came = (cpu_s(edge.pid) - before) / elapsed, (received(edge) - read) / elapsed
    for sender in senders:
        sender.communicate()
    return cores, list(honest), came


def measure_reader(kind: Kind, options: argparse.Namespace) -> float:
    """Return the cores of a process that only reads the same noise."""
    reader = subprocess.Popen([sys.executable, "-c", READER], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    try:
        target = ("127.0.0.1", int(reader.stdout.readline()))
        sender = sender_process(kind.name, target, options.noise, 4, NOISY)
        time.sleep(1.0)
        before, begun = cpu_s(reader.pid), time.monotonic()
        time.sleep(2.5)
        cores = (cpu_s(reader.pid) - before) / (time.monotonic() - begun)
        sender.communicate()
    finally:
        reader.kill()
        reader.wait()
    return cores


def fill_memory(up: subprocess.Popen[str], target: tuple[str, int]) -> tuple[float, float]:
    """Send datagrams of many sources; return the edge's memory before and after, in MiB."""
    edge = edge_of(up, target[1])
    before = anonymous_kib(edge.pid)
    kind = Kind("options", "OPTIONS")
    for number in range(SOURCES):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((many_sources(number), 0))
            sender.sendto(kind.datagram(number, many_sources(number)), target)
    time.sleep(1.0)
    return before / 1024, anonymous_kib(edge.pid) / 1024


def main() -> None:
    """Measure each kind in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noise", type=int, default=10_000, help="datagrams a second")
    parser.add_argument("--invites", type=int, default=500, help="INVITEs a second of one more stranger")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--kinds", default=",".join(kind.name for kind in KINDS), help="by commas")
    parser.add_argument("--send", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        name, host, port, rate, seconds, source = options.send
        kind = next(kind for kind in KINDS if kind.name == name)
        print(send_steadily(kind, (host, int(port)), int(rate), float(seconds), source))
        return
    chosen = [kind for kind in KINDS if kind.name in options.kinds.split(",")]
    print("| noise | read/s | trusted | neighbours | edge cores for it | bare reader | multiple |")
    print("|---|---|---|---|---|---|---|")
    for documents in ("", TRUNKS):
        kinds = [kind for kind in chosen if (documents == TRUNKS) == (kind.name == "password")]
        if kinds:
            with tempfile.TemporaryDirectory() as folder:
                up, address = start_gateway(Path(folder), documents)
                try:
                    report(kinds, up, address, options)
                finally:
                    up.send_signal(signal.SIGTERM)
                    up.wait(30)


def report(kinds: list[Kind], up: subprocess.Popen[str], address: str, options: argparse.Namespace) -> None:
    """Print a line for each kind, and what many sources leave in memory."""
    host, _, port = address.partition(":")
    target = (host, int(port))
    alone, honest, came = asyncio.run(measure(None, up, target, options))
    print(
        f"| none | {came:.0f} | {shown(honest[0])} | {shown(honest[1])} | ({alone:.2f} for the calls) | | |",
        flush=True,
    )
    for kind in kinds:
        cores, honest, came = asyncio.run(measure(kind, up, target, options))
        reader, extra = measure_reader(kind, options), cores - alone
        print(
            f"| {kind.name} | {came:.0f} | {shown(honest[0])} | {shown(honest[1])} | {extra:.2f} "
            f"| {reader:.3f} | {extra / max(reader, 0.001):.1f} |",
            flush=True,
        )
    before, after = fill_memory(up, target)
    print(f"| {SOURCES} sources | | | | {before:.1f} MiB before, {after:.1f} MiB after | | |", flush=True)


def shown(calls: tuple[int, int]) -> str:
    return f"{calls[0]} of {calls[1]}"


if __name__ == "__main__":
    main()
