"""Parsers of single headers: from the headers of a message to typed values, or SipParseError(400).

Messages call them through `Headers.parsed`, so each runs at most once for a message.
"""

import re
from typing import Final, NamedTuple

from sipgw.sip.address import NameAddress, split_addresses
from sipgw.sip.errors import SipParseError
from sipgw.sip.grammar import parse_decimal, split_commas, split_tokens
from sipgw.sip.headers import Headers
from sipgw.sip.via import Via

HIGHEST_CSEQ: Final = 2**31 - 1
"""The highest CSeq number (RFC 3261 §8.1.1.5)."""

_CSEQ = re.compile(r"([0-9]++)[ \t]++([A-Za-z0-9\-.!%*_+`'~]++)")
_CALL_ID = re.compile(r"[\x21-\x7e]++")


class CSeq(NamedTuple):
    """Sequence number and method."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def _required(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise SipParseError(400, f"Missing {name}")
    return value


def top_via(headers: Headers) -> Via:
    """Read the first Via."""
    return Via.parse(split_commas(_required(headers, "Via"))[0])


def vias(headers: Headers) -> tuple[Via, ...]:
    """Read every Via."""
    return tuple(Via.parse(value) for value in headers.values("Via"))


def from_(headers: Headers) -> NameAddress:
    """Read From."""
    return NameAddress.parse_copied(_required(headers, "From"), "From")


def to(headers: Headers) -> NameAddress:
    """Read To."""
    return NameAddress.parse_copied(_required(headers, "To"), "To")


def call_id(headers: Headers) -> str:
    """Read Call-ID."""
    value = _required(headers, "Call-ID")
    if not _CALL_ID.fullmatch(value):
        raise SipParseError(400, "Malformed Call-ID")
    return value


def cseq(headers: Headers) -> CSeq:
    """Read CSeq."""
    match = _CSEQ.fullmatch(_required(headers, "CSeq"))
    if match is None:
        raise SipParseError(400, "Malformed CSeq")
    return CSeq(parse_decimal(match[1], "CSeq", HIGHEST_CSEQ), match[2])


def max_forwards(headers: Headers) -> int | None:
    """Read Max-Forwards; None without it."""
    return optional_decimal(headers, "Max-Forwards", 255)


def content_length(headers: Headers) -> int | None:
    """Read Content-Length; None without it."""
    return optional_decimal(headers, "Content-Length", 2**31)


def optional_decimal(headers: Headers, name: str, highest: int) -> int | None:
    """Read a header of one decimal up to `highest`; None without it."""
    value = headers.get(name)
    return None if value is None else parse_decimal(value, name, highest)


def addresses(headers: Headers, name: str) -> tuple[NameAddress, ...]:
    """Return every value of a header of addresses (Contact, Route, Record-Route, P-Asserted-Identity ...)."""
    lines = headers.get_all(name)
    return tuple(NameAddress.parse(value, name) for line in lines for value in split_addresses(line))


def contacts(headers: Headers) -> tuple[NameAddress, ...]:
    """Return the Contact addresses; none for `*` (RFC 3261 §10.2.2)."""
    return () if headers.get("Contact") == "*" else addresses(headers, "Contact")


def routes(headers: Headers) -> tuple[NameAddress, ...]:
    """Read every Route."""
    return addresses(headers, "Route")


def record_routes(headers: Headers) -> tuple[NameAddress, ...]:
    """Read every Record-Route."""
    return addresses(headers, "Record-Route")


def tokens(headers: Headers, name: str) -> tuple[str, ...]:
    """Return every value of a header of tokens (Require, Supported, Allow ...)."""
    return tuple(token for line in headers.get_all(name) for token in split_tokens(line))


def content_type(headers: Headers) -> str | None:
    """Return `type/subtype` in lower case, without parameters."""
    value = headers.get("Content-Type")
    return value.partition(";")[0].replace(" ", "").lower() if value else None
