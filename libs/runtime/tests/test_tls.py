"""mTLS between GrpcServer and open_channel: roles are enforced, and certificates change during calls."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psutil
import pytest
from structlog.testing import capture_logs

from sipgw.api.edge.v1 import edge_pb2, edge_pb2_grpc
from sipgw.runtime import tls as tls_module
from sipgw.runtime.errors import StartupError
from sipgw.runtime.grpc_channel import open_channel
from sipgw.runtime.grpc_server import GrpcServer
from sipgw.runtime.patience import patient
from sipgw.runtime.testing import TestAuthority
from sipgw.runtime.tls import TlsDirectory, require_role, tls_directory

NAME = "sipgw.api.edge.v1.EdgeService"


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the certificate files at every use instead of once a second."""
    monkeypatch.setattr(tls_module, "_LOOK_AGAIN_S", 0.0)


class Edge(edge_pb2_grpc.EdgeServiceServicer):
    """An edge: only the registry may call Hangup; Deliver waits until `hold` is set."""

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.arrived = asyncio.Event()

    async def Hangup(self, request, context):
        await require_role(context, "registry")
        return edge_pb2.HangupResponse(found=True)

    async def Deliver(self, request, context):
        self.arrived.set()
        await self.hold.wait()
        return edge_pb2.DeliverResponse(outcome=edge_pb2.DELIVER_OUTCOME_HANDLED)


class Fixture:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = TestAuthority()
        self.edge = Edge()
        self.port = 0
        self.server: GrpcServer | None = None

    def leaf(self, role: str, *, of: TestAuthority | None = None, believe: bytes = b"") -> TlsDirectory:
        path = self.directory / role
        (of or self.authority).write_leaf(path, role, believe=believe)
        return TlsDirectory(path)

    async def start(self) -> None:
        self.server = GrpcServer("127.0.0.1:0", tls=self.leaf("edge"))
        self.server.add(self.edge, edge_pb2_grpc.add_EdgeServiceServicer_to_server, NAME)
        self.port = await self.server.start()

    def channel(self, tls: TlsDirectory | None, role: str = "edge") -> grpc.aio.Channel:
        return open_channel(f"127.0.0.1:{self.port}", role=role, tls=tls)

    async def hang_up(self, tls: TlsDirectory | None, role: str = "edge") -> grpc.StatusCode:
        async with self.channel(tls, role) as channel:
            return await code_of(channel)


async def code_of(channel: grpc.aio.Channel) -> grpc.StatusCode:
    try:
        await edge_pb2_grpc.EdgeServiceStub(channel).Hangup(edge_pb2.HangupRequest(), timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Fixture]:
    fixture = Fixture(tmp_path)
    await fixture.start()
    yield fixture
    assert fixture.server is not None
    await fixture.server.stop(0)


async def test_both_sides_show_a_certificate_of_the_same_authority(served: Fixture) -> None:
    assert await served.hang_up(served.leaf("registry")) is grpc.StatusCode.OK


async def test_a_client_without_a_certificate_is_not_heard(served: Fixture) -> None:
    assert await served.hang_up(None) is grpc.StatusCode.UNAVAILABLE


async def test_a_client_of_another_authority_is_not_heard(served: Fixture) -> None:
    stranger = TestAuthority("stranger")
    tls = served.leaf("registry", of=stranger, believe=served.authority.certificate + stranger.certificate)
    assert await served.hang_up(tls) is grpc.StatusCode.UNAVAILABLE


async def test_a_server_of_another_authority_is_not_spoken_to(served: Fixture) -> None:
    tls = served.leaf("registry", believe=TestAuthority("stranger").certificate)
    assert await served.hang_up(tls) is grpc.StatusCode.UNAVAILABLE


async def test_a_server_of_another_role_is_not_spoken_to(served: Fixture) -> None:
    assert await served.hang_up(served.leaf("registry"), role="relay") is grpc.StatusCode.UNAVAILABLE


async def test_a_role_that_may_not_is_refused_and_told_why(served: Fixture) -> None:
    async with served.channel(served.leaf("relay")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge_pb2_grpc.EdgeServiceStub(channel).Hangup(edge_pb2.HangupRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.details() == "this is for registry; the certificate shows relay"


async def test_authorities_change_under_calls_without_a_break(served: Fixture) -> None:
    """In a rotation all trust both authorities, then all present new certificates, then the old one goes."""
    old, new = served.authority, TestAuthority("next")
    both = old.certificate + new.certificate
    tls = served.leaf("registry")
    async with served.channel(tls) as channel:
        stub = edge_pb2_grpc.EdgeServiceStub(channel)
        under_way = asyncio.ensure_future(stub.Deliver(edge_pb2.DeliverRequest(), timeout=30))
        await asyncio.wait_for(served.edge.arrived.wait(), patient(5))
        steps = [(old, both), (new, both), (new, new.certificate)]
        for step, (signs, believed) in enumerate(steps):
            for role in ("edge", "registry") if step % 2 else ("registry", "edge"):
                signs.write_leaf(served.directory / role, role, believe=believed)
                assert (await stub.Hangup(edge_pb2.HangupRequest(), timeout=5)).found
                assert await served.hang_up(tls) is grpc.StatusCode.OK  # a new connection
        assert await served.hang_up(served.leaf("stale", of=old, believe=both)) is not grpc.StatusCode.OK
        served.edge.hold.set()
        assert (await under_way).outcome == edge_pb2.DELIVER_OUTCOME_HANDLED


async def test_connections_of_old_certificates_close_when_their_calls_have_ended(served: Fixture) -> None:
    def connections() -> int:
        return sum(
            one.raddr.port == served.port and one.status == psutil.CONN_ESTABLISHED
            for one in psutil.Process().net_connections("tcp")
            if one.raddr
        )

    tls = served.leaf("registry")
    async with served.channel(tls) as channel:
        stub = edge_pb2_grpc.EdgeServiceStub(channel)
        under_way = asyncio.ensure_future(stub.Deliver(edge_pb2.DeliverRequest(), timeout=30))
        await asyncio.wait_for(served.edge.arrived.wait(), patient(5))
        served.authority.write_leaf(served.directory / "registry", "registry")
        await stub.Hangup(edge_pb2.HangupRequest(), timeout=5)
        assert connections() == 2
        served.edge.hold.set()
        await under_way
        del under_way
        async with asyncio.timeout(patient(5)):
            while connections() > 1:  # noqa: ASYNC110 - the kernel sets no event
                await asyncio.sleep(0.01)
        assert await code_of(channel) is grpc.StatusCode.OK


async def test_files_half_written_are_passed_over_until_they_fit(served: Fixture) -> None:
    tls = served.leaf("registry")
    good = tls.current()
    key = served.directory / "registry" / "tls.key"
    key.unlink()
    with capture_logs() as lines:
        assert tls.current() is tls.current() is good
    assert [line["event"] for line in lines] == ["certificates_refused"], "once, not at each look"
    assert "tls.key: No such file or directory" in lines[0]["reason"]
    key.write_bytes((served.directory / "edge" / "tls.key").read_bytes())
    assert tls.current() is good
    key.write_bytes(good.key)
    assert tls.current().key == good.key
    assert tls.current() is tls.current()


def a_strange_key(at: Path) -> None:
    stranger = TestAuthority().write_leaf(at.parent / "stranger", "stranger")
    (at / "tls.key").write_bytes((stranger / "tls.key").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda at: (at / "ca.crt").unlink(), "ca.crt: No such file or directory"),
        (lambda at: (at / "tls.crt").write_text("garbled"), "not certificates and key in PEM"),
        (lambda at: (at / "ca.crt").write_bytes(b"\xff"), "not certificates and key in PEM"),
        (a_strange_key, "tls.key is not the key of tls.crt"),
    ],
)
def test_what_is_wrong_at_the_start_is_named(tmp_path: Path, spoil, said: str) -> None:
    directory = tmp_path / "tls"
    TestAuthority().write_leaf(directory, "edge")
    spoil(directory)
    with pytest.raises(StartupError, match=re.escape(f"--tls-dir {directory}: {said}")):
        TlsDirectory(directory)


async def test_plaintext_asks_nobody_for_a_role() -> None:
    server = GrpcServer("127.0.0.1:0")
    server.add(Edge(), edge_pb2_grpc.add_EdgeServiceServicer_to_server, NAME)
    async with open_channel(f"127.0.0.1:{await server.start()}") as channel:
        assert await code_of(channel) is grpc.StatusCode.OK
    await server.stop(0)


def test_no_directory_means_plaintext() -> None:
    assert tls_directory("") is None
