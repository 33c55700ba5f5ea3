"""From a URL to links: one server, unix socket, TLS, Sentinel, Cluster.

redis://[user:password@]host[:port][/db]      one server; rediss:// with TLS
unix:///path/to.sock                          one server by its socket
redis+sentinel://host[:port][,host...]/service[/db]   the master that the Sentinels name; rediss+sentinel://
with TLS redis+cluster://host[:port][,host...]         a Cluster; rediss+cluster:// with TLS

Replies come as Redis sends them (bytes, RESP2). A Cluster goes through redis-py's own client, a connection
pool a node; everything else through one shared connection.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import ConnectionPool
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sipgw.store.errors import StoreUrlError
from sipgw.store.link import Connection, Link

_MAX_CLUSTER_CONNECTIONS: Final = 32
_DEFAULT_PORT: Final = 6379
_DEFAULT_SENTINEL_PORT: Final = 26379
_SENTINEL_TIMEOUT_S: Final = 0.3
_SCHEMES: Final = "redis, rediss, unix, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster"
_PARSED_REPLIES: Final = (
    *("GET", "MGET", "SET", "TIME", "PING", "HGETALL", "XREAD", "XRANGE", "XINFO STREAM", "SMEMBERS"),
    *("ZRANGE", "ZRANGEBYSCORE", "ZSCORE"),
)


class Closable(Protocol):
    """What has connections of its own."""

    async def aclose(self) -> None: ...


class Requests(Protocol):
    """Where commands go."""

    async def request(self, args: tuple[Any, ...], timeout_s: float) -> Any: ...

    def reset(self) -> None: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Links:
    """Where a store's commands go; `blocking` for reads that wait."""

    commands: Requests
    blocking: Requests
    is_cluster: bool
    sentinels: tuple[Closable, ...] = ()

    async def aclose(self) -> None:
        """Close every connection."""
        for closable in (self.commands, self.blocking, *self.sentinels):
            await closable.aclose()


def connect_links(url: str) -> Links:
    """Build what `url` names. Connects to nothing yet. Raises StoreUrlError."""
    try:
        parts = urlsplit(url)
        match parts.scheme:
            case "redis" | "rediss" | "unix":
                return _shared(_single(url))
            case "redis+sentinel" | "rediss+sentinel":
                return _sentinel(parts)
            case "redis+cluster" | "rediss+cluster":
                cluster = _cluster(parts)
                return Links(cluster, cluster, is_cluster=True)
            case scheme:
                raise StoreUrlError(f"scheme {scheme!r}; allowed: {_SCHEMES}")
    except (ValueError, RedisError) as error:
        raise StoreUrlError(f"{_without_password(url)!r} is not a Redis URL: {error}") from error


class _ClusterRequests:
    """redis-py's Cluster client, its reply parsers taken out for the commands that we use."""

    def __init__(self, client: RedisCluster) -> None:
        self._client: Any = client
        self._slots = asyncio.Semaphore(_MAX_CLUSTER_CONNECTIONS)
        for command in _PARSED_REPLIES:
            self._client.response_callbacks.pop(command, None)

    async def request(self, args: tuple[Any, ...], timeout_s: float) -> Any:
        if args[0] == "XINFO":  # redis-py knows the slot of a subcommand only when it is one word with it
            args = (f"{args[0]} {args[1]}", *args[2:])
        async with asyncio.timeout(timeout_s), self._slots:
            return await self._client.execute_command(*args)

    def reset(self) -> None:
        """redis-py follows the Cluster's moves by itself."""

    async def aclose(self) -> None:
        await self._client.aclose()


def _shared(make_connection: Callable[[], Connection], sentinels: tuple[Closable, ...] = ()) -> Links:
    commands, blocking = Link(make_connection, "commands"), Link(make_connection, "blocking")
    return Links(commands, blocking, is_cluster=False, sentinels=sentinels)


def _single(url: str) -> Callable[[], Connection]:
    _ = urlsplit(url).port  # raises ValueError where redis-py would take the default port
    from_url: Callable[..., Any] = cast(Any, ConnectionPool).from_url
    return from_url(url, **_connection_options()).make_connection


def _sentinel(parts: SplitResult) -> Links:
    path = [part for part in parts.path.split("/") if part]
    if not path:
        raise StoreUrlError("a Sentinel URL names its service: redis+sentinel://host/service")
    is_tls, credentials = parts.scheme.startswith("rediss"), _credentials(parts)
    options = {"socket_timeout": _SENTINEL_TIMEOUT_S, "ssl": is_tls, **credentials}
    sentinel = Sentinel(_hosts(parts, _DEFAULT_SENTINEL_PORT), sentinel_kwargs=options)
    database = int(path[1]) if len(path) > 1 else 0
    pool: Any = SentinelConnectionPool(
        path[0], sentinel, ssl=is_tls, db=database, **_connection_options(), **credentials
    )
    return _shared(pool.make_connection, tuple(cast(Any, sentinel).sentinels))


def _cluster(parts: SplitResult) -> _ClusterRequests:
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts, _DEFAULT_PORT)]
    return _ClusterRequests(
        RedisCluster(
            startup_nodes=nodes,
            ssl=parts.scheme.startswith("rediss"),
            protocol=2,
            max_connections=_MAX_CLUSTER_CONNECTIONS,
            **_credentials(parts),
        )
    )


def _connection_options() -> dict[str, Any]:
    """The link has its own bounds and its own way with a loss."""
    return {
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": 1.0,
        "retry": Retry(NoBackoff(), 0),
    }


def _credentials(parts: SplitResult) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if parts.username:
        found["username"] = unquote(parts.username)
    if parts.password:
        found["password"] = unquote(parts.password)
    return found


def _hosts(parts: SplitResult, default_port: int) -> list[tuple[str, int]]:
    """Every host:port of a comma-separated authority."""
    _, _, authority = parts.netloc.rpartition("@")
    return [_host_port(item, default_port) for item in authority.split(",")]


def _host_port(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise StoreUrlError("a host is missing")
    return parts.hostname, parts.port or default_port


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{'***@' if at and credentials else ''}{host}"
