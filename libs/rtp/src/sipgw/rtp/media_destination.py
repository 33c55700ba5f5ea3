"""Where media may be sent: rules that keep the gateway from sending audio to a third party.

An SDP may name any address. The decision takes into account whether its host sent valid RTP to the call's
port, sent the call's signalling, or was named in an answer that the caller has acknowledged; and the kind of
address. Pure: `LocalAddresses` tells the addresses of this machine.
"""

import ipaddress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, Protocol

from sipgw.rtp.source_latch import Network, Source, is_within

LIMITED_PACKETS: Final = 100
"""How many packets a LIMITED destination gets in all."""

_IPv4: Final = ipaddress.IPv4Network
_IPv6: Final = ipaddress.IPv6Network
_UNSENDABLE: Final = (
    _IPv4("0.0.0.0/8"),  # unspecified, "this network"
    _IPv4("169.254.0.0/16"),  # link-local; cloud metadata
    _IPv4("224.0.0.0/4"),  # multicast
    _IPv4("240.0.0.0/4"),  # reserved, with the broadcast address
    _IPv6("::/128"),
    _IPv6("fe80::/10"),
    _IPv6("ff00::/8"),
)
_LOOPBACK: Final = (_IPv4("127.0.0.0/8"), _IPv6("::1/128"))
_PRIVATE: Final = (
    _IPv4("10.0.0.0/8"),  # RFC 1918
    _IPv4("172.16.0.0/12"),
    _IPv4("192.168.0.0/16"),
    _IPv4("100.64.0.0/10"),  # RFC 6598
    _IPv6("fc00::/7"),  # unique local, RFC 4193
    _IPv6("fec0::/10"),  # site-local, deprecated by RFC 3879
)
_NAT64: Final = (_IPv6("64:ff9b::/96"), _IPv6("64:ff9b:1::/48"))
_COMPATIBLE: Final = _IPv6("::/96")


class HostKind(Enum):
    """The kind of an address by itself."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    UNSENDABLE = "unsendable"
    """Unspecified, link-local, multicast, broadcast, or no address."""


class Reach(Enum):
    """Whether media goes to a destination."""

    FREE = "free"
    LIMITED = "limited"
    """Send LIMITED_PACKETS, then hold."""
    HELD = "held"
    """Send nothing yet: the bot's audio waits."""
    NEVER = "never"


class LocalAddresses(Protocol):
    """The addresses of the sending machine."""

    def is_own(self, host: str) -> bool:
        """Return whether it is an address of this machine."""
        ...

    def is_broadcast(self, host: str) -> bool:
        """Return whether it is the broadcast address of one of the machine's networks."""
        ...

    def is_relay_port(self, port: int) -> bool:
        """Return whether a relay of this machine uses the port."""
        ...


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """The limits of a call's trunk, and the host of its signalling. An empty `signalling_host` is unknown."""

    signalling_host: str = ""
    networks: tuple[Network, ...] = ()
    is_trusted: bool = False
    """The trunk matched by network, digest or certificate."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Events of the call so far that speak for a destination."""

    is_heard: bool
    """The destination's host sent valid RTP to this port."""
    is_acknowledged: bool
    """The caller acknowledged the answer to the SDP that names the host."""


def judge_destination(
    destination: Source, rules: DestinationRules, evidence: Evidence, local: LocalAddresses
) -> Reach:
    """Return whether media goes to a destination now."""
    if is_forbidden(destination, rules, local):
        return Reach.NEVER
    host = destination.host
    if _is_hidden(host, rules) and not evidence.is_heard:
        return Reach.HELD
    if evidence.is_heard or evidence.is_acknowledged or host == rules.signalling_host:
        return Reach.FREE
    return Reach.LIMITED if rules.is_trusted else Reach.HELD


def is_forbidden(destination: Source, rules: DestinationRules, local: LocalAddresses) -> bool:
    """Return whether nothing that can happen in the call makes this a destination."""
    host, port = destination
    kind = kind_of(host)
    if kind is HostKind.UNSENDABLE or local.is_broadcast(host):
        return True
    if kind is HostKind.LOOPBACK or local.is_own(host):
        is_elsewhere = bool(rules.signalling_host) and rules.signalling_host != host
        if is_elsewhere or local.is_relay_port(port):
            return True
    return bool(rules.networks) and not is_within(host, rules.networks)


def _is_hidden(host: str, rules: DestinationRules) -> bool:
    """Return whether a public peer gave a private address: the caller's behind NAT, or one in our network."""
    if kind_of(host) is not HostKind.PRIVATE or rules.networks:  # networks that don't contain it forbid it
        return False
    return bool(rules.signalling_host) and kind_of(rules.signalling_host) is HostKind.PUBLIC


@lru_cache(maxsize=4096)
def kind_of(host: str) -> HostKind:
    """Return the kind of an IP address in any notation of `ipaddress`; UNSENDABLE for other text."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return HostKind.UNSENDABLE
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _plain_kind(address.ipv4_mapped)
        embedded = _embedded(address)
        if embedded is not None and _plain_kind(embedded) is not HostKind.PUBLIC:
            return HostKind.UNSENDABLE  # a translator or tunnel would lead to a forbidden host
    return _plain_kind(address)


def _plain_kind(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> HostKind:
    kinds = (
        (_UNSENDABLE, HostKind.UNSENDABLE),
        (_LOOPBACK, HostKind.LOOPBACK),
        (_PRIVATE, HostKind.PRIVATE),
    )
    return next(
        (kind for networks, kind in kinds if any(address in each for each in networks)), HostKind.PUBLIC
    )


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address inside an IPv6 address; None without one.

    A translator's (RFC 6052), 6to4, Teredo or IPv4-compatible address.
    """
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _COMPATIBLE and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
