"""Via (RFC 3261 §20.42) with received and rport (RFC 3581)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sipgw.sip.errors import SipParseError
from sipgw.sip.grammar import HOST, format_parameters, parse_parameters
from sipgw.sip.uri import bracketed

MAGIC_COOKIE = "z9hG4bK"
"""A branch that starts with this cookie identifies its transaction alone (RFC 3261 §8.1.1.7)."""

_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]++"
_VIA = re.compile(
    rf"{_TOKEN}[ \t]*+/[ \t]*+{_TOKEN}[ \t]*+/[ \t]*+({_TOKEN})[ \t]++({HOST})"
    r"(?:[ \t]*+:[ \t]*+([0-9]{1,5}+))?+[ \t]*+(;.*+)?+",
    re.DOTALL,
)


def _no_parameters() -> dict[str, str | None]:
    return {}


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value. `transport` is in upper case; `host` is without brackets."""

    transport: str
    host: str
    port: int | None = None
    params: Mapping[str, str | None] = field(default_factory=_no_parameters)

    @classmethod
    def parse(cls, text: str) -> "Via":
        """Read one value. Raise SipParseError(400). The protocol version is checked in the start line."""
        match = _VIA.fullmatch(text)
        if match is None:
            raise SipParseError(400, "Malformed Via")
        transport, host, port, params = match.groups()
        port_number = int(port) if port else None
        if port_number is not None and port_number > 65535:
            raise SipParseError(400, "Malformed Via Port")
        return cls(
            transport.upper(),
            host[1:-1] if host[0] == "[" else host,
            port_number,
            parse_parameters(params, "Via") if params else {},
        )

    @property
    def branch(self) -> str | None:
        return self.params.get("branch") or None

    @property
    def has_rfc3261_branch(self) -> bool:
        """Whether the branch alone identifies the transaction; a bare cookie does not (RFC 4475 §3.2.1)."""
        branch = self.params.get("branch")
        return branch is not None and len(branch) > 7 and branch[:7].lower() == "z9hg4bk"

    @property
    def received(self) -> str | None:
        """The address that the next hop saw, without brackets (RFC 5118 §4.5 allows both forms)."""
        value = self.params.get("received")
        return value.strip("[]") if value else None

    @property
    def wants_rport(self) -> bool:
        """Whether the client asked for symmetric responses (RFC 3581 §3)."""
        return "rport" in self.params

    @property
    def rport(self) -> int | None:
        """The port that the next hop saw; None when it has not been filled in."""
        value = self.params.get("rport")
        return int(value) if value and value.isascii() and value.isdigit() and len(value) <= 5 else None

    @property
    def sent_by(self) -> str:
        """`host` or `host:port`, in lower case."""
        host = bracketed(self.host).lower()
        return host if self.port is None else f"{host}:{self.port}"

    def with_params(self, **params: str | None) -> "Via":
        """Return the same Via with these parameters set."""
        return replace(self, params={**self.params, **params})

    def __str__(self) -> str:
        sent_by = bracketed(self.host) if self.port is None else f"{bracketed(self.host)}:{self.port}"
        return f"SIP/2.0/{self.transport} {sent_by}{format_parameters(self.params)}"
