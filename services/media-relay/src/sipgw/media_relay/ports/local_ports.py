"""Warn of RTP ports that others may get: those for outgoing connections (ip(7)), and NodePorts.

Any program may hold one of these ports for a while. The relay then skips it, and on a crowded machine calls
find no port. Reserved ports (ip_local_reserved_ports) are given only to programs that ask for them. Packets
for a NodePort go to its Service, on every node.
"""

from pathlib import Path
from typing import Final

_SYSCTL: Final = Path("/proc/sys/net/ipv4")
_NODE_PORTS: Final = (30000, 32767)
"""The apiserver's default. Another --service-node-port-range can't be seen from a pod."""


def overlap_warning(low: int, high: int, *, sysctl: Path = _SYSCTL) -> str:
    """Return cause and cure of an overlap with outgoing connections; empty when there is none."""
    try:
        local_low, local_high = map(int, (sysctl / "ip_local_port_range").read_text().split())
        reserved = _read_ports((sysctl / "ip_local_reserved_ports").read_text())
    except (OSError, ValueError):
        return ""  # not Linux
    free = [port for port in range(max(low, local_low), min(high, local_high) + 1) if port not in reserved]
    if not free:
        return ""
    return (
        f"RTP ports {free[0]}-{free[-1]} are among those for outgoing connections (ip_local_port_range "
        f"{local_low}-{local_high}), where any program may hold them: give another --rtp-ports, or reserve "
        f"them on the node: sysctl -w net.ipv4.ip_local_reserved_ports={free[0]}-{free[-1]}"
    )


def node_port_warning(low: int, high: int) -> str:
    """Return cause and cure of an overlap with NodePorts, for a node of a cluster.

    It is empty when there is none.
    """
    first, last = max(low, _NODE_PORTS[0]), min(high, _NODE_PORTS[1])
    if first > last:
        return ""
    return (
        f"RTP ports {first}-{last} are among those that Kubernetes gives to Services of type NodePort "
        f"({_NODE_PORTS[0]}-{_NODE_PORTS[1]} by default), which then get their packets: "
        "give another --rtp-ports"
    )


def _read_ports(text: str) -> set[int]:
    """Read ports as the kernel writes them: "8080,20000-22399"."""
    ports: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        ports.update(range(int(first), int(last or first) + 1))
    return ports
