"""URIs: sip and sips taken apart (RFC 3261 §19.1), any other scheme kept as text.

`user`, `password` and parameters stay escaped as they came, so that a copied URI stays the same; `user_text`
is the readable form. Hosts are without the brackets of IPv6 and fit a socket call. Scheme, host and port are
read strictly; an empty user, empty parameters and quoted values, which the grammar forbids, are read too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from sipgw.sip.errors import SipParseError
from sipgw.sip.grammar import HOST, QUOTED

_SIP_URI = re.compile(
    rf"""(sips?+):                                       # scheme
    (?:([^@:\s<>"]*+)(?::([^@\s<>"]*+))?+@)?+            # user and password
    ({HOST})(?::([0-9]{{1,5}}+))?+                       # host and port
    ((?:;(?:[^;?@\s<>"]++|{QUOTED})*+)*+)                # parameters
    (?:\?([^\s<>"@]*+))?+                                # headers
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_OTHER_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):([^\s<>\"]++)")
_PARAMETER = re.compile(rf""";((?:[^;"]++|{QUOTED})*+)""", re.DOTALL)
_BLANK = re.compile(r"\s", re.ASCII)
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9\-_.!~*'()\[\]/:&+$%]++")


def bracketed(host: str) -> str:
    """Return `host` as it stands in a URI or Via: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _no_parameters() -> dict[str, str | None]:
    return {}


@dataclass(frozen=True, slots=True)
class SipUri:
    """A sip: or sips: URI.

    `params` has lower-case names; `headers` is what follows the question mark, as it came.
    """

    scheme: str
    user: str | None
    password: str | None = None
    host: str = ""
    port: int | None = None
    params: Mapping[str, str | None] = field(default_factory=_no_parameters)
    headers: str = ""

    @classmethod
    def parse(cls, text: str) -> "SipUri":
        """Read a URI. Raise SipParseError(400) for a malformed one and 416 for another scheme."""
        match = _SIP_URI.fullmatch(text)
        if match is None:
            if ":" in text and not text.lower().startswith(("sip:", "sips:")):
                raise SipParseError(416, "Unsupported URI Scheme")
            raise SipParseError(400, "Malformed URI")
        scheme, user, password, host, port, params, headers = match.groups()
        port_number = int(port) if port else None
        if port_number is not None and port_number > 65535:
            raise SipParseError(400, "Malformed URI Port")
        return cls(
            scheme.lower(),
            user,
            password,
            host[1:-1] if host[0] == "[" else host,
            port_number,
            _parse_uri_parameters(params) if params else {},
            headers or "",
        )

    @property
    def user_text(self) -> str:
        """The user part with its escapes resolved; "" when there is none."""
        return unquote(self.user) if self.user else ""

    @property
    def is_loose_router(self) -> bool:
        return "lr" in self.params

    @property
    def transport(self) -> str | None:
        """The transport parameter in upper case, as in a Via."""
        value = self.params.get("transport")
        return value.upper() if value else None

    def without_headers(self) -> "SipUri":
        """Return the URI without headers and method, as a request line has it (RFC 3261 §19.1.1)."""
        params = {name: value for name, value in self.params.items() if name != "method"}
        return replace(self, params=params, headers="")

    def __str__(self) -> str:
        parts = [self.scheme, ":"]
        if self.user is not None:
            parts.append(self.user)
            if self.password is not None:
                parts += (":", self.password)
            parts.append("@")
        parts.append(bracketed(self.host))
        if self.port is not None:
            parts.append(f":{self.port}")
        for name, value in self.params.items():
            parts.append(f";{name}" if value is None else f";{name}={value}")
        if self.headers:
            parts += ("?", self.headers)
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class OtherUri:
    """A URI of a scheme that we do not take apart (tel, urn, http ...).

    Without a scheme it is text that stands where a URI should, kept to be copied.
    """

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}" if self.scheme else self.rest


def parse_uri(text: str) -> SipUri | OtherUri:
    """Read any URI. Raise SipParseError(400)."""
    prefix = text[:5].lower()
    if prefix.startswith("sip:") or prefix == "sips:":
        return SipUri.parse(text)
    match = _OTHER_URI.fullmatch(text)
    if match is None:
        raise SipParseError(400, "Malformed URI")
    return OtherUri(match[1].lower(), match[2])


def _parse_uri_parameters(text: str) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    for part in _PARAMETER.findall(text) if '"' in text else text[1:].split(";"):
        name, equals, value = part.partition("=")
        if "%" in name:  # RFC 4475 §3.1.1.3: an escaped name is the same name
            plain = unquote(name)
            name = plain if _PARAMETER_NAME.fullmatch(plain) else name
        if name:
            parameters.setdefault(name.lower(), _without_blanks(value) if equals else None)
    return parameters


def _without_blanks(value: str) -> str:
    """Escape the blanks of a quoted value, which no request line can have."""
    return _BLANK.sub(lambda blank: f"%{ord(blank[0]):02X}", value) if '"' in value else value
