"""`sipgw-registry` as a process: flags, the ready line, probes, its end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_INVITED, CallSession
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1 import registry_pb2_grpc as services
from sipgw.calls import CallStore, EndedOutbox, random_call_id
from sipgw.runtime.patience import patient
from sipgw.store import Store
from sipgw.store.testing import RedisServer

COMMAND = [sys.executable, "-m", "sipgw.registry"]


@contextmanager
def registry(
    *flags: str, env: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [*COMMAND, *flags], stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    assert process.stderr is not None
    try:
        yield (
            process,
            next(event for line in process.stderr if (event := json.loads(line))["event"] == "ready"),
        )
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)


def test_it_serves_its_services_health_and_metrics_and_ends_with_0_on_sigterm(
    redis_server: RedisServer,
) -> None:
    flags = ("--listen", "127.0.0.1:0", "--redis", redis_server.url, "--admin", "127.0.0.1:0")
    with registry(*flags) as (process, ready), grpc.insecure_channel(ready["listen"]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service="sipgw.api.registry.v1.PlacementService")
        assert health.Check(asked, timeout=10).status == health_pb2.HealthCheckResponse.SERVING
        calls = services.CallRegistryServiceStub(channel)
        assert calls.CountCalls(pb.CountCallsRequest(), timeout=10).live == 0
        assert "sipgw_registry_calls 0.0" in get(f"http://{ready['admin']}/metrics")
        assert get(f"http://{ready['admin']}/readyz") == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_gone_redis_makes_it_unready_and_never_not_live(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    flags = ("--listen", "127.0.0.1:0", "--health", "127.0.0.1:0")
    with (
        redis,
        registry(*flags, env={"SIPGW_REDIS_URL": redis.url}) as (_, ready),
        grpc.insecure_channel(ready["health"]) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)

        def status(service: str) -> int:
            return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status

        assert status("readiness") == health_pb2.HealthCheckResponse.SERVING
        redis.stop()
        deadline = time.monotonic() + patient(20)
        while status("readiness") == health_pb2.HealthCheckResponse.SERVING:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert status("liveness") == health_pb2.HealthCheckResponse.SERVING


def test_without_redis_it_starts_says_that_it_is_not_ready_and_waits(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    flags = ("--listen", "127.0.0.1:0", "--redis", redis.url, "--admin", "127.0.0.1:0")
    with registry(*flags) as (_, ready), grpc.insecure_channel(ready["listen"]) as channel:
        assert get(f"http://{ready['admin']}/readyz") == "503"
        calls = services.CallRegistryServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            calls.ListCalls(pb.ListCallsRequest(), timeout=10)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
        with redis:
            deadline = time.monotonic() + patient(20)
            while get(f"http://{ready['admin']}/readyz") != "ready\n":
                assert time.monotonic() < deadline
                time.sleep(0.02)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--listen", "nowhere", "--redis", "unix:///nowhere"), "write host:port"),
        (("--listen", "127.0.0.1:0", "--redis", "http://x"), "not a Redis URL"),
    ],
)
def test_a_bad_flag_ends_it_with_2_and_one_clear_line(flags: tuple[str, ...], said: str) -> None:
    ended = subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr.splitlines()[-1]


def test_a_taken_port_ends_it_with_2_and_is_named(redis_server: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["--listen", f"127.0.0.1:{port}", "--redis", redis_server.url]
        ended = subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert str(port) in ended.stderr.splitlines()[-1]


async def test_of_two_registries_one_writes_each_calls_record_also_while_one_stops(
    redis_server: RedisServer,
) -> None:
    flags = ("--listen", "127.0.0.1:0", "--redis", redis_server.url, "--record-numbers", "masked")
    store = await Store.connect(redis_server.url)
    with registry(*flags) as (one, _), registry(*flags) as (other, _):
        writing = [asyncio.to_thread(records_of, process) for process in (one, other)]
        reading = asyncio.gather(*writing)
        first = [await end_a_call(store) for _ in range(100)]
        one.send_signal(signal.SIGTERM)
        second = [await end_a_call(store) for _ in range(100)]
        assert await asyncio.to_thread(one.wait, 10) == 0
        async with asyncio.timeout(patient(20)):
            while (await EndedOutbox(store, "test").take_over(600_000))[1]:  # noqa: ASYNC110 - has no event
                await asyncio.sleep(0.02)
        other.send_signal(signal.SIGTERM)
        written = [record for records in await reading for record in records]
    await store.aclose()
    assert Counter(record["call_id"] for record in written) == Counter(first + second)
    assert {record["from"] for record in written} == {"**********678"}


async def end_a_call(store: Store) -> str:
    session = CallSession(
        call_id=random_call_id(), state=CALL_STATE_INVITED, from_display="+493012345678", created_ms=1
    )
    made = await CallStore(store).create(session)
    return (await CallStore(store).end(made.session)).call_id


def records_of(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Return the call records logged until the process ends; a full pipe would stop it."""
    assert process.stderr is not None
    lines = [json.loads(line) for line in process.stderr]
    return [line for line in lines if line["event"] == "call_record"]
