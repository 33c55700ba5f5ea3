"""Readiness checks: a service at its admin address (just enough HTTP for that), a Redis."""

import asyncio

from sipgw.local.errors import RedisNotFound
from sipgw.store import Store, StoreUnavailable, without_password

_TIMEOUT_S = 1.0


async def is_admin_ready(address: str) -> bool:
    """Return whether GET /readyz at host:port answers 200 within a second."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(f"GET /readyz HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status_line


async def require_redis(url: str) -> None:
    """Raise RedisNotFound when nothing answers at the URL; its password is not repeated."""
    shown = without_password(url)
    try:
        store = await Store.connect(url)
    except ValueError as error:
        raise RedisNotFound(f"--redis {shown}: {error}") from error
    try:
        await store.redis_time_ms()
    except StoreUnavailable as error:
        raise RedisNotFound(f"--redis {shown}: {error}") from error
    finally:
        await store.aclose()
