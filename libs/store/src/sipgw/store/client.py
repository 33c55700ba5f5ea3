"""From a URL to links: one server, unix socket, TLS, Sentinel, Cluster.

redis://[user:password@]host[:port][/db]      one server; rediss:// with TLS
unix:///path/to.sock                          one server by its socket
redis+sentinel://host[:port][,host...]/service[/db]   the master that the Sentinels name; rediss+sentinel://
with TLS redis+cluster://host[:port][,host...]         a Cluster; rediss+cluster:// with TLS
file:///path                                  one of these, in a file

Any of them takes ?password_file=/path; see address.py.

Replies come as Redis sends them (bytes, RESP2). A Cluster goes through redis-py's own client, a connection
pool a node; everything else through one shared connection.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from sipgw.store.address import Credentials, RedisAddress, read_address, without_password
from sipgw.store.driver import (
    ClusterNode,
    ConnectionPool,
    NoBackoff,
    RedisCluster,
    RedisError,
    Retry,
    Sentinel,
    SentinelConnectionPool,
)
from sipgw.store.errors import StoreUrlError
from sipgw.store.link import Connection, Link

_MAX_CLUSTER_CONNECTIONS: Final = 32
_DEFAULT_PORT: Final = 6379
_DEFAULT_SENTINEL_PORT: Final = 26379
_SENTINEL_TIMEOUT_S: Final = 0.3
_PARSED_REPLIES: Final = (
    *("GET", "MGET", "SET", "TIME", "PING", "HGETALL", "XREAD", "XRANGE", "XINFO STREAM", "SMEMBERS"),
    *("ZRANGE", "ZRANGEBYSCORE", "ZSCORE"),
)


class Closable(Protocol):
    """Something with connections to close."""

    async def aclose(self) -> None:
        """Close the connections."""


class Requests(Protocol):
    """Something that executes commands."""

    async def request(self, args: tuple[Any, ...], timeout_s: float) -> Any:
        """Execute a command within `timeout_s`."""
        ...

    def reset(self) -> None:
        """Connect anew."""

    async def aclose(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Links:
    """The links of a store: one for commands, `blocking` for reads that wait."""

    commands: Requests
    blocking: Requests
    is_cluster: bool
    sentinels: tuple[Closable, ...] = ()

    async def aclose(self) -> None:
        """Close every connection."""
        for closable in (self.commands, self.blocking, *self.sentinels):
            await closable.aclose()


def connect_links(url: str) -> Links:
    """Build the links that `url` names, without connecting yet. Raises StoreUrlError."""
    address = read_address(url)
    try:
        match address.parts.scheme.partition("+")[2]:
            case "sentinel":
                return _sentinel(url, address)
            case "cluster":
                cluster = _cluster(url, address)
                return Links(cluster, cluster, is_cluster=True)
            case _:
                _ = address.parts.port  # raises ValueError, where redis-py would take the default port
                return _shared(_single(url, address))
    except (ValueError, RedisError) as error:
        raise StoreUrlError(f"{without_password(address.url)!r} is not a Redis URL: {error}") from error


class _ClusterRequests:
    """redis-py's Cluster client, without its reply parsers for the commands that we use."""

    def __init__(self, client: RedisCluster) -> None:
        self._client: Any = client
        self._slots = asyncio.Semaphore(_MAX_CLUSTER_CONNECTIONS)
        for command in _PARSED_REPLIES:
            self._client.response_callbacks.pop(command, None)

    async def request(self, args: tuple[Any, ...], timeout_s: float) -> Any:
        if args[0] == "XINFO":  # redis-py finds the slot of a subcommand only when both are one word
            args = (f"{args[0]} {args[1]}", *args[2:])
        async with asyncio.timeout(timeout_s), self._slots:
            return await self._client.execute_command(*args)

    def reset(self) -> None:
        """Do nothing: redis-py follows the Cluster's moves by itself."""

    async def aclose(self) -> None:
        await self._client.aclose()


def _shared(make_connection: Callable[[], Connection], sentinels: tuple[Closable, ...] = ()) -> Links:
    commands, blocking = Link(make_connection, "commands"), Link(make_connection, "blocking")
    return Links(commands, blocking, is_cluster=False, sentinels=sentinels)


def _single(url: str, address: RedisAddress) -> Callable[[], Connection]:
    from_url: Callable[..., Any] = cast(Any, ConnectionPool).from_url
    pool = from_url(address.url, **_connection_options(), credential_provider=Credentials(url))
    return pool.make_connection


def _sentinel(url: str, address: RedisAddress) -> Links:
    path = [part for part in address.parts.path.split("/") if part]
    if not path:
        raise StoreUrlError("a Sentinel URL names its service: redis+sentinel://host/service")
    is_tls, credentials = address.parts.scheme.startswith("rediss"), Credentials(url)
    asked = {"socket_timeout": _SENTINEL_TIMEOUT_S, "ssl": is_tls, "credential_provider": credentials}
    sentinel = Sentinel(_hosts(address, _DEFAULT_SENTINEL_PORT), sentinel_kwargs=asked)
    database = int(path[1]) if len(path) > 1 else 0
    options = {**_connection_options(), "ssl": is_tls, "db": database, "credential_provider": credentials}
    pool: Any = SentinelConnectionPool(path[0], sentinel, **options)
    return _shared(pool.make_connection, tuple(cast(Any, sentinel).sentinels))


def _cluster(url: str, address: RedisAddress) -> _ClusterRequests:
    nodes = [ClusterNode(host, port) for host, port in _hosts(address, _DEFAULT_PORT)]
    return _ClusterRequests(
        RedisCluster(
            startup_nodes=nodes,
            ssl=address.parts.scheme.startswith("rediss"),
            protocol=2,
            max_connections=_MAX_CLUSTER_CONNECTIONS,
            credential_provider=Credentials(url),
        )
    )


def _connection_options() -> dict[str, Any]:
    """Switch off redis-py's own timeouts and retries: the link has its own."""
    return {
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": 1.0,
        "retry": Retry(NoBackoff(), 0),
    }


def _hosts(address: RedisAddress, default_port: int) -> list[tuple[str, int]]:
    """Return every host:port of a comma-separated authority."""
    return [_host_port(item, default_port) for item in address.parts.netloc.split(",")]


def _host_port(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise StoreUrlError("a host is missing")
    return parts.hostname, parts.port or default_port
