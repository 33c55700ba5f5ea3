"""Resolve a bot's name to all its addresses: the A and AAAA records of a headless Service are its pods."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from sipgw.media_relay.errors import BotUnavailable

# Maps (host, port) to the "ip:port" of every record.
Resolve: TypeAlias = Callable[[str, int], Awaitable[tuple[str, ...]]]

FRESH_S = 5.0
"""How long the addresses of a reachable bot are used without asking DNS."""


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Split "host:port" or "[v6]:port" into host and port. Raises BotUnavailable for anything else."""
    host, _, port = endpoint.removeprefix("dns:///").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise BotUnavailable(f'bot endpoint {endpoint!r} is not "host:port"')
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """Write host and port as "host:port" or "[v6]:port"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def resolve_by_system(host: str, port: int) -> tuple[str, ...]:
    """Ask the system's resolver; keep its order, without repeats. Raises BotUnavailable."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BotUnavailable(f"can't resolve bot {host!r}: {error.strerror or error}") from error
    return tuple(dict.fromkeys(join_address(str(entry[4][0]), port) for entry in found))


class AddressBook:
    """The addresses of one name.

    They are resolved again when older than asked for; while DNS is down the last known ones are used.
    """

    def __init__(self, endpoint: str, resolve: Resolve = resolve_by_system) -> None:
        self.host, self._port = split_endpoint(endpoint)
        self._resolve = resolve
        self._known: tuple[str, ...] = ()
        self._asked_at: float | None = None
        self._asking: asyncio.Task[tuple[str, ...]] | None = None
        if _is_literal(self.host):
            self._known = (join_address(self.host, self._port),)

    async def addresses(self, fresh_s: float) -> tuple[str, ...]:
        """Return at least one "ip:port", looked up in the last `fresh_s` seconds. Raises BotUnavailable."""
        if _is_literal(self.host):
            return self._known
        now = asyncio.get_running_loop().time()
        if self._known and self._asked_at is not None and now - self._asked_at < fresh_s:
            return self._known
        if self._asking is None:  # one query serves all that wait
            self._asking = asyncio.create_task(self._ask(), name=f"resolve/{self.host}")
            self._asking.add_done_callback(self._answered)
        return await asyncio.shield(self._asking)

    async def _ask(self) -> tuple[str, ...]:
        try:
            found = await self._resolve(self.host, self._port)
        except BotUnavailable:
            if not self._known:
                raise
            return self._known
        if not found:
            raise BotUnavailable(f"bot {self.host!r} has no address")
        self._known = found
        self._asked_at = asyncio.get_running_loop().time()
        return found

    def _answered(self, asking: asyncio.Task[tuple[str, ...]]) -> None:
        self._asking = None
        if not asking.cancelled():
            asking.exception()  # retrieved, even when nobody waits for it any more


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
