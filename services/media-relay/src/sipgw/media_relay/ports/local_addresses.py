"""RelayAddresses: which addresses are this machine's, and which ports are the relay's.

Asked before media is sent anywhere.
"""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Final

_DISCARD_PORT: Final = 9


@dataclass(frozen=True, slots=True)
class RelayAddresses:
    """The relay's RTP ports are `first_port` to `last_port`; the kernel says which addresses are its own."""

    first_port: int
    last_port: int

    def is_own(self, host: str) -> bool:
        """Return whether the host is an address of this machine."""
        return is_own_address(host)

    def is_broadcast(self, host: str) -> bool:
        """Return whether the host is the broadcast address of a local network.

        The kernel refuses to connect to such an address.
        """
        try:
            with _probe(host) as probe:
                probe.connect((host, _DISCARD_PORT))
        except PermissionError:
            return True
        except OSError:
            return False
        return False

    def is_relay_port(self, port: int) -> bool:
        """Return whether the port is one of the relay's RTP ports."""
        return self.first_port <= port <= self.last_port


def is_own_address(address: str) -> bool:
    """Return whether the route to the address begins at itself.

    Binding would tell less: with ip_nonlocal_bind every address can be bound.
    """
    if ipaddress.ip_address(address).is_loopback:
        return True
    try:
        with _probe(address) as probe:
            probe.connect((address, _DISCARD_PORT))
            return probe.getsockname()[0] == address
    except OSError:
        return False


def _probe(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
