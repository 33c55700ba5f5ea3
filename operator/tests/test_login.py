"""The cluster's authority is replaced while the operator runs."""

import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import kopf
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sipgw.operator.errors import KubeAway
from sipgw.operator.handlers import login
from sipgw.operator.kube_client import KubeClient


def write_certificate(folder: Path, name: str) -> Path:
    """Write a self-signed certificate, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    no_secret = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_secret)
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


class Apiserver:
    """Answers all with an empty object; may be started again with another certificate at the same port."""

    def __init__(self) -> None:
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self, certificate: Path) -> None:
        await self.stop()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        return web.json_response({})


@pytest.fixture
async def apiserver() -> AsyncIterator[Apiserver]:
    made = Apiserver()
    yield made
    await made.stop()


async def test_an_authority_that_is_replaced_is_believed_and_the_old_one_no_longer(
    apiserver: Apiserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (write_certificate(tmp_path, name) for name in ("first", "second"))
    believed = tmp_path / "ca.crt"
    believed.write_bytes(first.read_bytes())
    await apiserver.start(first)
    server = f"https://127.0.0.1:{apiserver.port}"
    found = kopf.ConnectionInfo(server=server, ca_path=str(believed))
    monkeypatch.setattr(login, "connection", lambda _: found)
    clock = SimpleNamespace(now=0.0)
    client = KubeClient(login.LogIn(), monotonic=lambda: clock.now)
    assert await client.get("/first") == {}

    await apiserver.start(second)
    with pytest.raises(KubeAway):
        await client.get("/unknown authority")
    believed.write_bytes(second.read_bytes())
    assert await client.get("/second") == {}, "read anew at once, since the last try failed by it"

    believed.write_bytes(first.read_bytes())
    await apiserver.start(first)
    clock.now = 61.0
    assert await client.get("/first again") == {}, "read anew each minute in any case"
    await client.aclose()


def test_the_same_files_give_the_same_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are kept by context: another each minute would be a handshake each minute."""
    believed = write_certificate(tmp_path, "ca")
    found = kopf.ConnectionInfo(server="https://192.0.2.1", ca_path=str(believed))
    monkeypatch.setattr(login, "connection", lambda _: found)
    log_in = login.LogIn()
    assert log_in().tls is log_in().tls


def test_what_watches_is_asked_for_again_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kopf.ConnectionInfo(server="https://192.0.2.1", token="t")
    monkeypatch.setattr(login, "connection", lambda _: found)
    expiration = login.connection_for_a_while(kopf.OperatorSettings()).expiration
    assert expiration is not None
    assert timedelta() < expiration - datetime.now(UTC) <= timedelta(seconds=login.WATCH_LOGIN_S)
