"""Hosts outside of this machine: a network namespace with addresses of its own, and sockets in it.

Needs root and iproute2. The addresses are of 198.18.0.0/15, which is for tests (RFC 2544), and public to the
gateway.
"""

import ctypes
import ipaddress
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_CLONE_NEWNET = 0x40000000
_ALL = ipaddress.IPv4Network("198.18.0.0/15")


@dataclass(frozen=True)
class Outside:
    """A namespace of hosts behind one link: `ours` is this machine's end."""

    name: str
    ours: str
    known: str
    unknown: str
    third: str
    broadcast: str

    @classmethod
    @contextmanager
    def make(cls) -> Iterator[Self]:
        """Make the namespace for the time of the block."""
        begin = os.getpid() * 8 % _ALL.num_addresses  # runs beside each other have a network each
        network = ipaddress.IPv4Network((int(_ALL.network_address) + begin, 29))
        ours, known, unknown, third = map(str, (network[1], network[2], network[3], network[4]))
        broadcast = str(network.broadcast_address)
        outside = cls(f"sipgw-e2e-{os.getpid()}", ours, known, unknown, third, broadcast)
        link = f"sgw{os.getpid()}"
        _ip(f"netns add {outside.name}")
        try:
            _ip(f"link add {link} type veth peer name out netns {outside.name}")
            _ip(f"addr add {outside.ours}/29 brd {outside.broadcast} dev {link}")
            _ip(f"link set {link} up")
            for host in (outside.known, outside.unknown, outside.third):
                _ip(f"-n {outside.name} addr add {host}/29 brd {outside.broadcast} dev out")
            _ip(f"-n {outside.name} link set out up")
            _ip(f"-n {outside.name} link set lo up")
            yield outside
        finally:
            _ip(f"netns del {outside.name}")

    def socket(self, host: str) -> socket.socket:
        """Open a UDP socket of that host, for `create_datagram_endpoint(sock=...)`."""
        made: list[socket.socket] = []

        def make() -> None:  # in a thread of its own, which alone changes its namespace
            descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
                each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                each.bind((host, 0))
                made.append(each)
            finally:
                os.close(descriptor)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]


def why_not() -> str:
    """Say why this machine can have no such namespace; empty where it can."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    if shutil.which("ip") is None or not Path("/proc/self/ns/net").exists():
        return "iproute2 is not installed"
    probe = f"sipgw-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "this machine allows no network namespace"
    _ip(f"netns del {probe}")
    return ""


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True)
