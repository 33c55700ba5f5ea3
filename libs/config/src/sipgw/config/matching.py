"""Pure functions of the config: the trunk of a request, the route of a call, the bot of a route.

They are cheap enough for every INVITE: networks and patterns are parsed once per process.
"""

import hashlib
import ipaddress
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from sipgw.api.config.v1 import config_pb2 as pb
from sipgw.config.regex import matches


class HeaderValues(Protocol):
    """The headers of a request; sipgw.sip.Headers is one."""

    def get_all(self, name: str, /) -> Sequence[str]:
        """Return every line of this header."""
        ...


def match_trunk(config: pb.GatewayConfig, source_ip: str) -> pb.Trunk | None:
    """Return the trunk with the longest network around the source, else the first that takes any, else None.

    A trunk with digest is never found by its source: see match_digest_trunk.
    """
    address = _address(source_ip)
    best: pb.Trunk | None = None
    best_length = -2
    for trunk in config.trunks:
        if trunk.HasField("digest"):
            continue
        length = -1 if not trunk.source_cidrs else _longest_prefix(trunk.source_cidrs, address)
        if length is not None and length > best_length:
            best, best_length = trunk, length
    return best


def vouched_networks(config: pb.GatewayConfig) -> list[str]:
    """Return the networks of the trunks that list their networks.

    A trunk that takes any source vouches for none.
    """
    return [cidr for trunk in config.trunks if not takes_any_source(trunk) for cidr in trunk.source_cidrs]


def takes_any_source(trunk: pb.Trunk) -> bool:
    """Return whether a trunk without digest has no networks, or networks that cover all of IPv4 or IPv6."""
    if trunk.HasField("digest"):
        return False
    if not trunk.source_cidrs:
        return True
    networks = [_network(cidr) for cidr in trunk.source_cidrs]
    in_v4 = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    in_v6 = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    whole = [*ipaddress.collapse_addresses(in_v4), *ipaddress.collapse_addresses(in_v6)]
    return any(network.prefixlen == 0 for network in whole)


def match_digest_trunk(config: pb.GatewayConfig, username: str) -> pb.Trunk | None:
    """Return the trunk with this user name; the request still has to prove it."""
    return next((trunk for trunk in digest_trunks(config) if trunk.digest.username == username), None)


def digest_trunks(config: pb.GatewayConfig) -> list[pb.Trunk]:
    """Return the trunks that a request from an unknown source may belong to once it proves it."""
    return [trunk for trunk in config.trunks if trunk.HasField("digest")]


def match_route(
    config: pb.GatewayConfig, trunk: pb.Trunk | None, to_user: str, from_user: str, headers: HeaderValues
) -> pb.Route | None:
    """Return the first route, in the config's order, whose conditions all hold."""
    trunk_name = trunk.name if trunk else ""
    for route in config.routes:
        if _route_takes(route.match, trunk_name, to_user, from_user, headers):
            return route
    return None


def shadowed_routes(config: pb.GatewayConfig) -> dict[str, str]:
    """Map routes that no call ever reaches to the earlier route that takes all of their calls."""
    shadowed: dict[str, str] = {}
    for place, route in enumerate(config.routes):
        before = (one for one in config.routes[:place] if _covers(one.match, route.match))
        if (first := next(before, None)) is not None:
            shadowed[route.name] = first.name
    return shadowed


def rank_bots(route: pb.Route, seed: str) -> list[pb.BotTarget]:
    """Return the route's bots in the order to try: first the one chosen by the seed (a call id).

    Rendezvous hashing: shares follow the weights, and adding or removing a bot moves only its own calls.
    """
    return _ranked(route.bots, seed)


def rank_fallback_bots(route: pb.Route, seed: str) -> list[pb.BotTarget]:
    """Return the fallback's bots in the order to try, when no bot is ready or the limit is reached."""
    return _ranked(route.fallback_bots, seed)


def choose_bot(route: pb.Route, seed: str) -> pb.BotTarget | None:
    """Return the bot chosen by the seed; None only when no bot has a weight."""
    ranked = rank_bots(route, seed)
    return ranked[0] if ranked else None


def _ranked(bots: Sequence[pb.BotTarget], seed: str) -> list[pb.BotTarget]:
    scored = [(_share(bot, seed), bot.endpoint, bot) for bot in bots if bot.weight]
    return [bot for *_, bot in sorted(scored, key=lambda entry: entry[:2])]


def _route_takes(
    match: pb.RouteMatch, trunk_name: str, to_user: str, from_user: str, headers: HeaderValues
) -> bool:
    if match.trunks and trunk_name not in match.trunks:
        return False
    if match.HasField("to") and not _value_matches(match.to, to_user):
        return False
    from_: pb.StringMatch = getattr(match, "from")
    if match.HasField("from") and not _value_matches(from_, from_user):
        return False
    return all(
        any(_value_matches(header.value, value) for value in headers.get_all(header.name))
        for header in match.headers
    )


def _covers(wide: pb.RouteMatch, narrow: pb.RouteMatch) -> bool:
    """Return whether `wide` takes each call that `narrow` takes; False when this is not certain."""
    if wide.trunks and not (narrow.trunks and set(narrow.trunks) <= set(wide.trunks)):
        return False
    for name in ("to", "from"):
        if wide.HasField(name) and not (
            narrow.HasField(name) and _value_covers(getattr(wide, name), getattr(narrow, name))
        ):
            return False
    return all(
        any(
            one.name.lower() == header.name.lower() and _value_covers(header.value, one.value)
            for one in narrow.headers
        )
        for header in wide.headers
    )


def _value_covers(wide: pb.StringMatch, narrow: pb.StringMatch) -> bool:
    if wide == narrow:
        return True
    value = getattr(narrow, narrow.WhichOneof("match") or "exact")
    is_text = narrow.WhichOneof("match") in {"exact", "prefix"}
    return wide.WhichOneof("match") == "prefix" and is_text and value.startswith(wide.prefix)


def _value_matches(match: pb.StringMatch, value: str) -> bool:
    match match.WhichOneof("match"):
        case "exact":
            return value == match.exact
        case "prefix":
            return value.startswith(match.prefix)
        case "regex":
            return matches(match.regex, value)
        case _:
            return True


def _longest_prefix(
    cidrs: Sequence[str], address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> int | None:
    if address is None:
        return None
    lengths = [network.prefixlen for cidr in cidrs if address in (network := _network(cidr))]
    return max(lengths, default=None)


def _address(source_ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address; IPv4 inside IPv6, as a dual-stack socket reports it, becomes IPv4."""
    try:
        address = ipaddress.ip_address(source_ip)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4096)
def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(cidr)


def _share(bot: pb.BotTarget, seed: str) -> float:
    """Draw from the exponential distribution with rate ``weight``.

    Each bot's draw is the smallest with the probability of its share.
    """
    digest = hashlib.blake2b(
        f"{bot.endpoint}\0{seed}".encode("utf-8", "surrogateescape"), digest_size=8
    ).digest()
    uniform = (int.from_bytes(digest) + 1) / (2**64 + 1)
    return -math.log(uniform) / bot.weight
