"""Telephone numbers in URIs: the number of a user part or tel: URI, apart from its parameters.

A user part is a number with parameters where RFC 3261 §19.1.6 and RFC 3966 §3 say so, or where it looks like
one: carriers often leave `user=phone` out. Any other user stays as it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from sipgw.sip.uri import OtherUri, SipUri

_PARAMETERS: Final = frozenset(
    {
        "cic", "cic-context", "cpc", "enumdi", "ext", "isub", "isub-encoding", "npdi", "oli", "phone-context",
        "postd", "premium-rate", "rn", "rn-context", "tgrp", "trunk-context", "verstat",
    }
)  # fmt: skip
"""Parameters of numbers: RFC 3966 §3, RFC 4694, RFC 4715, RFC 4759, RFC 4904, and those of carriers."""
_GLOBAL = re.compile(r"\+[0-9\-.() ]++")
_LOCAL = re.compile(r"[0-9A-Fa-f*#\-.() ]++")
_DIALLED = re.compile(r"[0-9*#\-() ]++")
_DIGIT = re.compile(r"[0-9]", re.ASCII)
_SEPARATOR = re.compile(r"[\-.() ]")
_FEWEST_DIGITS: Final = 7
"""A shorter user with separators may be anything: a room and a bed, a version."""


def _no_parameters() -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A caller or called as a URI names it.

    `number` has neither visual separators nor parameters; it is a user's name where that is no number.
    `params` has lower-case names; "" stands for a parameter without a value.
    """

    number: str
    params: Mapping[str, str] = field(default_factory=_no_parameters)


def subscriber_of(uri: SipUri | OtherUri) -> Subscriber:
    """Return the subscriber that a URI names, with escapes resolved; another scheme's URI is kept whole."""
    if isinstance(uri, SipUri):
        is_phone = (uri.params.get("user") or "").lower() == "phone"
        head, *parts = (uri.user or "").split(";")
        params = _read(parts)
        number = _number_in(unquote(head), is_phone=is_phone)
        if number is None and parts and not (is_phone or params.keys() <= _PARAMETERS):
            return Subscriber(uri.user_text)
        of_uri = {name: unquote(value or "") for name, value in uri.params.items() if name in _PARAMETERS}
        return Subscriber(unquote(head) if number is None else number, {**of_uri, **params})
    if uri.scheme == "tel":
        head, *parts = uri.rest.split(";")
        number = _number_in(unquote(head), is_phone=True)
        return Subscriber(unquote(head) if number is None else number, _read(parts))
    return Subscriber(uri.rest)


def _number_in(text: str, *, is_phone: bool) -> str | None:
    """Return the number without visual separators (RFC 3966 §5.1.1); None: the text is no number."""
    if _DIGIT.search(text) is None:
        return None
    bare = _SEPARATOR.sub("", text)
    if _GLOBAL.fullmatch(text) or (is_phone and _LOCAL.fullmatch(text)):
        return bare
    if _DIALLED.fullmatch(text) and (bare == text or len(bare) >= _FEWEST_DIGITS):
        return bare
    return None


def _read(parts: list[str]) -> dict[str, str]:
    params: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name:
            params.setdefault(unquote(name).lower(), unquote(value))
    return params
