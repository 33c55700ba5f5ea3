"""A real Redis for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sipgw.store import Store
from sipgw.store.testing import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    opened = await Store.connect(redis_server.url)
    yield opened
    await opened.aclose()
