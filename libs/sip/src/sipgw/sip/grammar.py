"""The lexical rules of RFC 3261 §25.1 that several headers share.

Tokens, quoted strings, parameters and comma lists. Every pattern is possessive, so that its running time
stays linear in the length of the input.
"""

import re
from collections.abc import Mapping
from typing import Final

from sipgw.sip.errors import SipParseError

TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]++")
HOST: Final = r"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9._\-]++)"

QUOTED: Final = r'"(?:[^"\\]|\\.)*+"'
_PARAMETER = re.compile(
    rf"""[ \t]*+;[ \t]*+([A-Za-z0-9\-.!%*_+`'~]++)[ \t]*+(?:=[ \t]*+({QUOTED}|[^ \t;,"<>]*+)[ \t]*+)?+""",
    re.DOTALL,
)
_UNREADABLE = re.compile(r"[ \t]*+(;?+)[^;]*+")
_LIST_PIECE = re.compile(rf'(?:[^,"<]++|{QUOTED}|<[^>]*+>)++', re.DOTALL)
_ESCAPED_CHARACTER = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_QUOTES = re.compile(r'[ \t;,"<>\\]')
_DECIMAL = re.compile(r"[0-9]{1,18}+", re.ASCII)


def parse_decimal(text: str, name: str, highest: int) -> int:
    """Read a decimal number from 0 to `highest`; leading zeros are allowed, signs are not."""
    digits = text.strip(" \t").lstrip("0") or "0" if text.strip(" \t") else ""
    if not _DECIMAL.fullmatch(digits) or int(digits) > highest:
        raise SipParseError(400, f"Malformed {name}")
    return int(digits)


def parse_parameters(text: str, name: str) -> dict[str, str | None]:
    """Read `;a=1;b;c="x"` into names in lower case and values without quotes; the first of a name wins."""
    parameters: dict[str, str | None] = {}
    position, end = 0, len(text)
    match_parameter = _PARAMETER.match
    while position < end:
        match = match_parameter(text, position)
        if match is None:
            raise SipParseError(400, f"Malformed {name} Parameters")
        position = match.end()
        key, value = match.groups()
        if value is not None and value[:1] == '"':
            value = unquote_string(value)
        parameters.setdefault(key.lower(), value)
    return parameters


def parse_loose_parameters(text: str, name: str) -> dict[str, str | None]:
    """Read parameters as `parse_parameters` does, and skip other text, up to the next semicolon.

    A tag is never guessed: raise SipParseError(400) where text that may belong to it cannot be read.
    """
    try:
        return parse_parameters(text, name)
    except SipParseError:
        return _skip_unreadable(text, name)


def _skip_unreadable(text: str, name: str) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    position, end, last = 0, len(text), ""
    while position < end:
        match = _PARAMETER.match(text, position)
        if match is not None:
            last, value = match[1].lower(), match[2]
            is_quoted = value is not None and value[:1] == '"'
            parameters.setdefault(last, unquote_string(value) if value and is_quoted else value)
            position = match.end()
            continue
        skipped = _UNREADABLE.match(text, position)
        assert skipped is not None  # it matches any text
        is_open = skipped[0].count('"') % 2 == 1
        unread = text[position:] if is_open else skipped[0]
        if (last == "tag" and not skipped[1]) or ("tag" not in parameters and "tag" in unread.lower()):
            raise SipParseError(400, f"Malformed {name} Parameters")
        position += len(unread)
        last = ""
    return parameters


def format_parameters(parameters: Mapping[str, str | None]) -> str:
    """Write parameters, the inverse of `parse_parameters`; quote values that are neither token nor host."""
    parts: list[str] = []
    for name, value in parameters.items():
        if value is None:
            parts.append(f";{name}")
        elif _NEEDS_QUOTES.search(value):
            parts.append(f";{name}={quote_string(value)}")
        else:
            parts.append(f";{name}={value}")
    return "".join(parts)


def unquote_string(text: str) -> str:
    r"""Return the text of a quoted-string (RFC 3261 §25.1): `"a \"b\""` → `a "b"`."""
    inner = text[1:-1]
    return _ESCAPED_CHARACTER.sub(r"\1", inner) if "\\" in inner else inner


def quote_string(text: str) -> str:
    """Return `text` as a quoted-string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def split_commas(value: str) -> list[str]:
    """Split a comma-separated header value; commas in quotes and in <> do not separate."""
    if "," not in value:
        return [value]
    if '"' not in value and "<" not in value:
        return [piece.strip(" \t") for piece in value.split(",")]
    pieces: list[str] = []
    position = 0
    while True:
        match = _LIST_PIECE.match(value, position)
        end = match.end() if match else position
        if end < len(value) and value[end] != ",":
            raise SipParseError(400, "Unterminated Quote")
        pieces.append(value[position:end].strip(" \t"))
        if end >= len(value):
            return pieces
        position = end + 1


def split_tokens(value: str) -> list[str]:
    """Split a list of tokens (Require, Allow ...) and drop the empty ones; a stray quote is a character."""
    try:
        pieces = split_commas(value)
    except SipParseError:
        pieces = [piece.strip(" \t") for piece in value.split(",")]
    return [piece for piece in pieces if piece]
