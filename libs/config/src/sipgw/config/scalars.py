"""The kinds of text and number in documents, each with its check and the apiserver's."""

import ipaddress
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from sipgw.config.document import Allowed, Rule, refuse
from sipgw.config.errors import RegexRefused
from sipgw.config.regex import MAX_PATTERN, compile_regex

BUILTIN_ECHO = "builtin:echo"


def _check_cidr(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        allowed = "an address or a network without host bits, such as 203.0.113.0/24"
        raise refuse(f"{text!r} ({error})", allowed) from error
    return text


def _check_address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise refuse(repr(text), "an IP address, such as 203.0.113.7") from error
    return text


def _check_endpoint(text: str) -> str:
    host, _, port = text.rpartition(":")
    if text != BUILTIN_ECHO and not (host and port.isdigit() and 1 <= int(port) <= 65535):
        raise refuse(repr(text), f"host:port with a port from 1 to 65535, or {BUILTIN_ECHO}")
    return text


def _check_regex(pattern: str) -> str:
    try:
        compile_regex(pattern)
    except RegexRefused as error:
        raise refuse(
            f"{pattern!r}: {error}", "a regular expression of the subset in the reference"
        ) from error
    return pattern


Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
Address: TypeAlias = Annotated[
    str,
    Field(max_length=45),
    AfterValidator(_check_address),
    Allowed("an IP address"),
    Rule("isIP(self)", "an IP address, such as 203.0.113.7"),
]
Cidr: TypeAlias = Annotated[
    str,
    Field(max_length=49),
    AfterValidator(_check_cidr),
    Allowed("an IP address or network (CIDR)"),
    Rule(
        "isIP(self) || (isCIDR(self) && cidr(self) == cidr(self).masked())",
        "an address or a network without host bits, such as 203.0.113.0/24",
    ),
]
Endpoint: TypeAlias = Annotated[
    str,
    Field(
        max_length=260,
        pattern=r"^(builtin:echo|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}|[A-Za-z0-9]([-A-Za-z0-9._]*):[0-9]{1,5})$",
    ),
    AfterValidator(_check_endpoint),
    Allowed(f"host:port, [IPv6]:port or {BUILTIN_ECHO}"),
    Rule(
        f"self == '{BUILTIN_ECHO}' || (self.matches(':[0-9]+$') && "
        "int(self.substring(self.lastIndexOf(':') + 1)) >= 1 && "
        "int(self.substring(self.lastIndexOf(':') + 1)) <= 65535)",
        f"host:port with a port from 1 to 65535, or {BUILTIN_ECHO}",
    ),
]
Regex: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=MAX_PATTERN),
    AfterValidator(_check_regex),
    Allowed("a regular expression that the whole value matches"),
]
HeaderName: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9.!%*_+`'~-]+$"),
    Allowed("a SIP header name, such as X-Customer"),
]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
NodeName: TypeAlias = Annotated[str, Field(min_length=1, max_length=253)]
SecretName: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"),
    Allowed("the name of a Secret"),
]
SecretKey: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$"),
    Allowed("a key of a Secret: letters, digits, '-', '_' and '.'"),
]
CountryCode: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=3, pattern=r"^[1-9][0-9]*$"),
    Allowed('a country code of E.164 without +, such as "49"'),
]
DialPrefix: TypeAlias = Annotated[
    str, Field(max_length=8, pattern=r"^[0-9]*$"), Allowed('digits, such as "00", or ""')
]
UserName: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=128, pattern=r"^[!#-9;-\[\]-~]+$"),
    Allowed("ASCII letters, digits and signs but no space, quote, colon or backslash, at most 128"),
]
