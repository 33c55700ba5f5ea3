"""The admin port, over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from sipgw.runtime.admin_http import AdminServer
from sipgw.runtime.errors import StartupError
from sipgw.runtime.patience import patient
from sipgw.runtime.telemetry.metrics import count, observe
from sipgw.runtime.telemetry.traces import TraceIds
from sipgw.runtime.vitals import Vitals

SAMPLED = TraceIds("ab" * 16, "cd" * 8, sampled=True)


class Admin:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.is_ready, self.is_live = False, True
        vitals = Vitals(is_ready=lambda: self.is_ready, is_live=lambda: self.is_live)
        self.server = AdminServer("127.0.0.1", 0, vitals, registry=self.registry)
        self.port = 0

    async def send(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), patient(5))
        writer.close()
        await writer.wait_closed()
        return answer

    async def get(self, path: str, accept: str = "*/*") -> tuple[int, str]:
        answer = await self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
        head, _, body = answer.decode().partition("\r\n\r\n")
        return int(head.split()[1]), body


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    admin = Admin()
    admin.port = await admin.server.start()
    yield admin
    await admin.server.aclose()


async def test_it_says_what_the_process_says_of_itself(admin: Admin) -> None:
    assert await admin.get("/healthz") == (200, "ok\n")
    assert (await admin.get("/readyz"))[0] == 503
    admin.is_ready = True
    assert (await admin.get("/readyz"))[0] == 200
    admin.is_live = False
    assert await admin.get("/healthz") == (503, "not live\n")


async def test_metrics_come_in_the_text_format(admin: Admin) -> None:
    calls = Counter("calls", "Calls.", ["route"], registry=admin.registry)
    calls.labels("echo").inc(3)
    status, body = await admin.get("/metrics")
    assert status == 200
    assert 'calls_total{route="echo"} 3.0' in body


async def test_exemplars_of_sampled_traces_come_in_openmetrics(admin: Admin) -> None:
    seconds = Histogram("answer_seconds", "To the 200.", registry=admin.registry)
    calls = Counter("calls", "Calls.", registry=admin.registry)
    observe(seconds, 0.2, SAMPLED)
    observe(seconds, 9.0, TraceIds("00" * 16, "00" * 8, sampled=False))
    count(calls)
    _, body = await admin.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert f'# {{trace_id="{SAMPLED.trace_id}"}} 0.2' in body
    assert body.count("trace_id") == 1
    assert "calls_total 1.0" in body


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /secret HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("nonsense", 405),
        ("GET /healthz?x=1 HTTP/1.0", 200),
    ],
)
async def test_other_requests_get_their_status(admin: Admin, request_line: str, status: int) -> None:
    answer = await admin.send(request_line.encode() + b"\r\n\r\n")
    assert int(answer.split()[1]) == status


async def test_an_endless_request_is_dropped_and_the_next_one_served(admin: Admin) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
    assert await asyncio.wait_for(_read_to_end(reader), patient(5)) == b""
    writer.close()
    assert (await admin.get("/healthz"))[0] == 200


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_a_taken_port_is_a_startup_error(admin: Admin) -> None:
    with pytest.raises(StartupError, match=f"127.0.0.1:{admin.port}"):
        await AdminServer("127.0.0.1", admin.port, Vitals(is_ready=bool)).start()
