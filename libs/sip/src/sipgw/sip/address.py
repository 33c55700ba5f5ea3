"""Name-addr and addr-spec of From, To, Contact, Route and their like (RFC 3261 §20.10, §25.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sipgw.sip.errors import SipParseError
from sipgw.sip.grammar import (
    QUOTED,
    format_parameters,
    parse_loose_parameters,
    parse_parameters,
    quote_string,
    split_commas,
    unquote_string,
)
from sipgw.sip.uri import OtherUri, SipUri, parse_uri

_NAME_ADDR = re.compile(r'(?:("(?:[^"\\]|\\.)*+")[ \t]*+|([^<",;]*+))<([^<>]++)>([ \t]*+;.*+)?+', re.DOTALL)
_ADDR_SPEC = re.compile(r'([^\s;<>,?"]++)[ \t]*+(;.*+)?+', re.DOTALL)
_WORD = re.compile(r'[^\s;<>"]++')
_QUOTED = re.compile(QUOTED, re.DOTALL)
_BRACKETED = re.compile(r"<([^<>]*+)>(?=[ \t]*+(?:;|\Z))")
_PIECE = re.compile(r"(?:[^,<]++|<[^<>]*+>|<)++")
_TOKENS = re.compile(r"[A-Za-z0-9\-.!%*_+`'~ \t]*+")


def _no_parameters() -> dict[str, str | None]:
    return {}


@dataclass(frozen=True, slots=True)
class NameAddress:
    """`"Display" <uri>;params`. The display name is without its quotes."""

    display_name: str
    uri: SipUri | OtherUri
    params: Mapping[str, str | None] = field(default_factory=_no_parameters)

    @classmethod
    def parse(cls, text: str, name: str = "Address") -> "NameAddress":
        """Read one value whose URI is used; `name` is the header that an error names.

        Without <> every parameter belongs to the header, and a URI with a comma, semicolon or question mark
        is refused (RFC 3261 §20). A display name that breaks the grammar is read as far as it leaves no doubt
        about the URI: not one that opens a quote which never ends (RFC 4475 §3.1.2.6). Raise
        SipParseError(400).
        """
        parts = _take_apart(text.strip(" \t"), name)
        try:
            uri = parse_uri(parts.uri)
        except SipParseError as error:
            raise SipParseError(400, f"Malformed {name} URI") from error
        return cls(parts.display_name, uri, parts.params)

    @classmethod
    def parse_copied(cls, text: str, name: str = "Address") -> "NameAddress":
        """Read one value that is only copied, as From and To are: a URI that cannot be read is kept as text.

        The parameters, with the tag, are read as `parse` does. Raise SipParseError(400).
        """
        parts = _take_apart(text.strip(" \t"), name, is_copied=True)
        try:
            uri = parse_uri(parts.uri)
        except SipParseError:
            uri = OtherUri("", parts.uri)
        return cls(parts.display_name, uri, parts.params)

    @property
    def tag(self) -> str | None:
        """The tag; None when there is none or it is empty."""
        return self.params.get("tag") or None

    def with_tag(self, tag: str | None) -> "NameAddress":
        """Return the same address with this tag, or with none."""
        params = {name: value for name, value in self.params.items() if name != "tag"}
        if tag:
            params["tag"] = tag
        return replace(self, params=params)

    def __str__(self) -> str:
        display = self.display_name
        if display and _TOKENS.fullmatch(display) and display == display.strip():
            display += " "
        elif display:
            display = quote_string(display) + " "
        return f"{display}<{self.uri}>{format_parameters(self.params)}"


def split_addresses(value: str) -> list[str]:
    """Split a list of addresses; commas in quotes and in <> do not separate, nor do those of a name.

    Raise SipParseError(400) for a list without an address.
    """
    fault: SipParseError | None = None
    try:
        pieces = [piece for piece in split_commas(value) if piece]
    except SipParseError as error:
        fault = error
        pieces = [piece.strip(" \t") for piece in _PIECE.findall(value)]
    addresses: list[str] = []
    begun: list[str] = []
    for piece in pieces:
        begun.append(piece)
        if _BRACKETED.search(piece) or (":" in piece and _ADDR_SPEC.fullmatch(piece)):
            addresses.append(", ".join(begun))
            begun.clear()
    if fault is not None and not addresses:
        raise fault
    return [*addresses, ", ".join(begun)] if begun else addresses


class _Parts(NamedTuple):
    display_name: str
    uri: str
    params: dict[str, str | None]


def _take_apart(text: str, name: str, *, is_copied: bool = False) -> _Parts:
    """Take a value apart by the grammar, or else in the only way that it can be meant."""
    match = _NAME_ADDR.fullmatch(text)
    if match is not None:
        quoted, plain, uri, params = match.groups()
        display_name = unquote_string(quoted) if quoted else plain.rstrip(" \t")
        read = parse_loose_parameters(params, name) if params else {}
        return _Parts(display_name, uri.strip(" \t"), read)
    match = _ADDR_SPEC.fullmatch(text)
    if match is not None and ":" in match[1]:
        try:
            return _Parts("", match[1], parse_parameters(match[2] or "", name))
        except SipParseError:
            pass  # the text after a semicolon may belong to the display name before <>
    return _take_apart_loosely(text, name, is_copied=is_copied)


def _take_apart_loosely(text: str, name: str, *, is_copied: bool) -> _Parts:
    """Take apart a value that breaks the grammar.

    The URI is the first in <> behind which parameters or nothing follow, not counting a quoted string at the
    beginning; else the last word before the parameters.
    """
    quoted = _QUOTED.match(text)
    if text[:1] == '"' and quoted is None:
        raise SipParseError(400, f"Malformed {name}")  # all that follows may be within the quotes
    begin = quoted.end() if quoted else 0
    bracketed = _BRACKETED.search(text, begin)
    if bracketed is not None and (is_copied or bracketed[1].strip(" \t")):
        display_name, uri, params = text[: bracketed.start()], bracketed[1], text[bracketed.end() :]
    else:
        end = text.find(";", begin)
        head, params = (text, "") if end < 0 else (text[:end], text[end:])
        display_name, _, uri = head.rstrip(" \t").replace("\t", " ").rpartition(" ")
        pattern = _WORD if is_copied else _ADDR_SPEC
        if not pattern.fullmatch(uri) or not (is_copied or ":" in uri) or "<" in head or ">" in head:
            raise SipParseError(400, f"Malformed {name}")
    return _Parts(_plain(display_name), uri.strip(" \t"), parse_loose_parameters(params, name))


def _plain(display_name: str) -> str:
    """Return a display name without the quotes around it."""
    return display_name.strip(' \t"')
