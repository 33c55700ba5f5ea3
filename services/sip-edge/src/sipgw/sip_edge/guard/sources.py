"""Name the source that a datagram counts for, and look up addresses in sets of networks."""

import ipaddress
from collections.abc import Iterable
from typing import Final, TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_IPV6_SOURCE_BITS: Final = 64
"""A subscriber has a /64 and may use any address in it."""


def address_of(host: str) -> IpAddress | None:
    """Read the host of a socket address.

    IPv4 mapped into IPv6, as a dual-stack socket reports it, becomes IPv4.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def source_of(host: str) -> str:
    """Give the source that a host belongs to: an IPv4 address itself, the /64 of an IPv6 address."""
    address = address_of(host)
    if address is None:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_SOURCE_BITS), strict=False))


def read_source(text: str) -> str:
    """Read a source as people write it: an address, or a /64 as lists show it. Raises ValueError."""
    host, _, length = text.strip().partition("/")
    address = ipaddress.ip_address(host)
    whole = {4: "32", 6: str(_IPV6_SOURCE_BITS)}[address.version]
    if length not in ("", whole):
        raise ValueError(f"{text!r} is neither an address nor a source as `sipgw bans` shows it")
    return source_of(host)


class Networks:
    """A set of networks; one look-up for each different prefix length."""

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        """Parse the networks. Raises ValueError for text that is no address or network."""
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for cidr in cidrs:
            network = ipaddress.ip_network(cidr)
            shift = network.max_prefixlen - network.prefixlen
            prefixes = self._prefixes.setdefault((network.version, shift), set())
            prefixes.add(int(network.network_address) >> shift)

    def __contains__(self, address: IpAddress) -> bool:
        number, version = int(address), address.version
        return any(
            number >> shift in prefixes
            for (of_version, shift), prefixes in self._prefixes.items()
            if of_version == version
        )
