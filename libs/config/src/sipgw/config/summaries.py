"""Summaries of documents in a few words: columns of `kubectl get` that a JSONPath can't compute."""

from collections.abc import Sequence

from sipgw.config.bot_route import BotRoute, BotTarget, StringMatch
from sipgw.config.sip_trunk import SipTrunk
from sipgw.config.status import MAX_SUMMARY

_SHOWN = 2


def match_in_words(route: BotRoute) -> str:
    r"""Describe a match: ``trunk carrier, to +49*, from ~\d+, X-Queue support``; ``any call``."""
    match = route.spec.match
    parts = [f"trunk {_few(match.trunks)}"] if match.trunks else []
    parts += [f"{name} {_value(value)}" for name, value in (("to", match.to), ("from", match.from_)) if value]
    parts += [f"{header.name} {_value(header.value)}" for header in match.headers]
    return _cut(", ".join(parts) or "any call")


def bots_in_words(route: BotRoute) -> str:
    """Describe bots: ``bot:9090``; several with their shares, ``bot:9090 90%, canary:9090 10%``."""
    return _cut(_shares(route.spec.bots))


def auth_in_words(trunk: SipTrunk) -> str:
    """Describe authentication: ``203.0.113.0/24 and 2 more``, ``digest alice``, ``any source``."""
    if trunk.spec.auth is not None:
        return _cut(f"digest {trunk.spec.auth.digest.username}")
    return _cut(_few(trunk.spec.source_cidrs) or "any source")


def _shares(bots: Sequence[BotTarget]) -> str:
    total = sum(bot.weight for bot in bots)
    serving = [bot for bot in bots if bot.weight]
    if len(serving) == 1:
        return serving[0].endpoint
    return ", ".join(f"{bot.endpoint} {100 * bot.weight / total:.3g}%" for bot in serving)


def _value(match: StringMatch) -> str:
    if match.exact is not None:
        return match.exact
    return f"{match.prefix}*" if match.prefix is not None else f"~{match.regex}"


def _few(names: Sequence[str]) -> str:
    shown, more = ", ".join(names[:_SHOWN]), len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SUMMARY else f"{text[: MAX_SUMMARY - 1]}…"
