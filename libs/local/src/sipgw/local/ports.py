"""Addresses and ports of this machine: which are free, which process has the others."""

import socket
from dataclasses import dataclass

import psutil

from sipgw.local.errors import BadOptions, PortTaken

# TEST-NET-1 (RFC 5737): connecting a UDP socket there asks the routing table and sends nothing.
_ANYWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True)
class PortRange:
    """UDP ports low..high, both included; low is even, since RTP takes even ports and RTCP the next."""

    low: int
    high: int

    @classmethod
    def parse(cls, text: str) -> "PortRange":
        """Read "LOW-HIGH". Raises BadOptions."""
        low, dash, high = text.partition("-")
        if not (dash and low.strip().isdigit() and high.strip().isdigit()):
            raise BadOptions(f"RTP ports {text!r} are not LOW-HIGH, e.g. 20000-22399")
        return cls.of(int(low), int(high))

    @classmethod
    def of(cls, low: int, high: int) -> "PortRange":
        """Check and return the range low..high. Raises BadOptions."""
        low += low % 2
        if not 1024 <= low < high <= 65535:
            raise BadOptions(f"RTP ports {low}-{high}: need 1024 <= LOW < HIGH <= 65535")
        return cls(low, high)

    def split(self, parts: int) -> list["PortRange"]:
        """Return equal parts, one for each relay, each beginning with an even port."""
        size = (self.high - self.low + 1) // parts // 2 * 2
        if size < 2:
            raise BadOptions(f"RTP ports {self} are too few for {parts} relays: each call needs two")
        return [PortRange(self.low + i * size, self.low + (i + 1) * size - 1) for i in range(parts)]

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


def own_addresses() -> list[str]:
    """Return 127.0.0.1, ::1 and the addresses of the interfaces; the rest of 127.0.0.0/8 is left out."""
    found = [
        address.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]
    return list(dict.fromkeys(("127.0.0.1", "::1", *found)))


def default_route_address() -> str:
    """Return the IPv4 address that other machines reach us at; 127.0.0.1 without a default route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANYWHERE)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def require_free_udp_port(host: str, port: int, *, advice: str) -> None:
    """Raise PortTaken if the port is taken, naming the process where the system tells it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise PortTaken(f"no permission to use UDP port {port}; {advice}") from error
        except OSError as error:
            if error.errno is not None and _is_in_use(error):
                raise PortTaken(f"UDP port {port} is taken by {udp_port_holder(port)}; {advice}") from error
            raise BadOptions(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _is_in_use(error: OSError) -> bool:
    return error.errno in {48, 98, 10048}  # EADDRINUSE on macOS, Linux, Windows


def udp_port_holder(port: int) -> str:
    """Describe the process that has a UDP port by name and pid; processes of other users can't be seen."""
    try:
        connections = psutil.net_connections(kind="udp4")
    except psutil.AccessDenied:
        connections = []
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.pid:
            return _describe(connection.pid)
    return f"another process (run `sudo ss -lunp 'sport = :{port}'` to see which)"


def _describe(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        words = process.cmdline() or [process.name()]
    except psutil.Error:
        return f"process {pid}"
    command = " ".join(words)
    return f"process {pid} ({command if len(command) <= 80 else command[:77] + '...'})"
