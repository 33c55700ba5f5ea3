"""Name-addr and addr-spec of From, To, Contact, Route and their like (RFC 3261 §20.10, §25.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sipgw.sip.errors import SipParseError
from sipgw.sip.grammar import format_parameters, parse_parameters, quote_string, unquote_string
from sipgw.sip.uri import OtherUri, SipUri, parse_uri

_NAME_ADDR = re.compile(r'(?:("(?:[^"\\]|\\.)*+")[ \t]*+|([^<",;]*+))<([^<>]++)>([ \t]*+;.*+)?+', re.DOTALL)
_ADDR_SPEC = re.compile(r'([^\s;<>,?"]++)[ \t]*+(;.*+)?+', re.DOTALL)
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
        """Read one value; `name` is the header that an error names. Raise SipParseError(400).

        Without <> every parameter belongs to the header, and a URI with a comma, semicolon or question mark
        is refused (RFC 3261 §20). A display name without quotes may hold more than tokens, but no comma or
        quote.
        """
        text = text.strip(" \t")
        match = _NAME_ADDR.fullmatch(text)
        if match is not None:
            quoted, plain, uri_text, params = match.groups()
            display_name = unquote_string(quoted) if quoted else plain.rstrip(" \t")
        else:
            match = _ADDR_SPEC.fullmatch(text)
            if match is None:
                raise SipParseError(400, f"Malformed {name}")
            uri_text, params = match.groups()
            display_name = ""
        try:
            uri = parse_uri(uri_text)
        except SipParseError as error:
            raise SipParseError(400, f"Malformed {name} URI") from error
        return cls(display_name, uri, parse_parameters(params, name) if params else {})

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
