"""Choose a trunk's route for a new INVITE by numbers and headers, and one of its bots by weight.

Pure functions of the compiled config; the matching itself is in `sipgw.config.matching`.
"""

from dataclasses import dataclass, replace

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.config.matching import choose_bot, match_route
from sipgw.config.numbers import to_e164
from sipgw.sip import OtherUri, SipRequest, SipUri, Subscriber, subscriber_of
from sipgw.sip_edge.errors import Rejected

_DEFAULT_NO_BOT_STATUS = 480
NO_TRUNK = Rejected(403, "No Trunk For This Source")
_NOT_FOR_BOTS = frozenset({"authorization", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """The route, bot and headers that the config gives a call."""

    route: config.Route
    bot: config.BotTarget
    headers_to_bot: dict[str, str]


@dataclass(frozen=True, slots=True)
class Parties:
    """The caller and the called, with numbers as the trunk's number plan writes them."""

    caller: Subscriber
    called: Subscriber


def parties_of(request: SipRequest, trunk: config.Trunk | None) -> Parties:
    """Read the parties of a new INVITE: From and Request-URI."""
    return Parties(_party(request.from_.uri, trunk), _party(request.uri, trunk))


def _party(uri: SipUri | OtherUri, trunk: config.Trunk | None) -> Subscriber:
    party = subscriber_of(uri)
    if trunk is None or not trunk.HasField("numbers"):
        return party
    return replace(party, number=to_e164(party.number, trunk.numbers))


def decide_route(
    gateway: config.GatewayConfig,
    request: SipRequest,
    parties: Parties,
    trunk: config.Trunk | None,
    call_id: str,
) -> RouteDecision:
    """Choose the route and bot of a new INVITE. Raises Rejected(404) if no route matches."""
    route = match_route(gateway, trunk, parties.called.number, parties.caller.number, request.headers)
    if route is None:
        raise Rejected(404, "No Route")
    bot = choose_bot(route, call_id)
    if bot is None:
        raise Rejected(no_bot_status(route), "No Bot In The Route")
    return RouteDecision(route, bot, _headers_to_bot(route, request))


def no_bot_status(route: config.Route | None) -> int:
    """Give the final status when no bot takes the call; carriers try another gateway on any of them."""
    return (route.no_bot_status if route is not None else 0) or _DEFAULT_NO_BOT_STATUS


def is_tls(route: config.Route, endpoint: str) -> bool:
    """Tell whether a bot of the route, or one of its fallback bots, is reached by TLS."""
    return any(bot.tls for bot in (*route.bots, *route.fallback_bots) if bot.endpoint == endpoint)


def user_of(uri: SipUri | OtherUri) -> str:
    """Give the user part of a SIP URI; of any other URI all after the scheme ("tel:+49...")."""
    return uri.user_text if isinstance(uri, SipUri) else uri.rest


def _headers_to_bot(route: config.Route, request: SipRequest) -> dict[str, str]:
    names = [name for name in route.headers_to_bot if name.lower() not in _NOT_FOR_BOTS]
    found = {name: request.headers.get_all(name) for name in names}
    return {name: ", ".join(values) for name, values in found.items() if values}
