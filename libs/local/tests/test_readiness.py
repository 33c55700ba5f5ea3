import asyncio
from collections.abc import AsyncIterator

import pytest

from sipgw.local.errors import RedisNotFound
from sipgw.local.readiness import is_admin_ready, require_redis


@pytest.fixture
async def admin() -> AsyncIterator[tuple[str, dict[str, bytes]]]:
    answer = {"/readyz": b"HTTP/1.1 503 Service Unavailable"}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1].decode()
        writer.write(answer[path] + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", answer


async def test_only_200_is_ready(admin: tuple[str, dict[str, bytes]]) -> None:
    address, answer = admin
    assert not await is_admin_ready(address)
    answer["/readyz"] = b"HTTP/1.1 200 OK"
    assert await is_admin_ready(address)


async def test_nobody_there_is_not_ready() -> None:
    assert not await is_admin_ready("127.0.0.1:1")


async def test_a_redis_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(RedisNotFound, match=r"--redis redis://\*\*\*@127\.0\.0\.1:1: Redis is away"):
        await require_redis("redis://:secret@127.0.0.1:1")
    with pytest.raises(RedisNotFound, match="--redis nonsense"):
        await require_redis("nonsense")
