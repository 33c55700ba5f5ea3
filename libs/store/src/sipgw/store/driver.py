"""The parts of redis-py that the store uses.

They are imported without OpenTelemetry: redis-py would load its SDK for metrics that nobody reads here, which
takes longer than all the rest.
"""

from sipgw.runtime.lean_imports import without

with without("opentelemetry"):
    from redis.asyncio import ConnectionPool
    from redis.asyncio.cluster import ClusterNode, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
    from redis.backoff import NoBackoff
    from redis.credentials import CredentialProvider
    from redis.exceptions import NoScriptError, RedisError, ResponseError

__all__ = [
    "ClusterNode",
    "ConnectionPool",
    "CredentialProvider",
    "NoBackoff",
    "NoScriptError",
    "RedisCluster",
    "RedisError",
    "ResponseError",
    "Retry",
    "Sentinel",
    "SentinelConnectionPool",
]
