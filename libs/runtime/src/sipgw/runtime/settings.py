"""The addresses that a process gets by its flags, and the identity that it draws at its start."""

import secrets
from dataclasses import dataclass
from typing import Self

from sipgw.runtime.errors import StartupError


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a process. A process restarted under the same name has another incarnation."""

    name: str
    incarnation: str

    def __str__(self) -> str:
        return f"{self.name}/{self.incarnation}"


def new_identity(name: str) -> Identity:
    """Return `name` with an incarnation drawn now: 16 hex digits."""
    return Identity(name, secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class HostPort:
    """An address to listen on or to connect to; IPv6 in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "host:port". Raises StartupError, which quotes the text."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise StartupError(f"{text!r} is not an address: write host:port, with a port from 0 to 65535")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
