"""The processes with the flags that a chart gives them: mTLS, health, advertised addresses by node."""

import asyncio
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone
from gatewaykit.rtp import noise
from gatewaykit.service import Service
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sipgw.control import RegistryClient, RegistryRefused, RegistryUnreachable
from sipgw.runtime.testing import TestAuthority

pytestmark = pytest.mark.system
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def started_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("gw"), edges=2, relays=2, calls_per_relay=50, in_cluster=True)
    yield gateway.start()
    gateway.kill()


@pytest.fixture
def common_gateway(started_gateway: Gateway) -> Gateway:
    """Two edges, two relays, for the tests of this file that leave it whole."""
    started_gateway.mark()
    return started_gateway


def middle_of_the_local_ports() -> int:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return (low + high) // 4 * 2


async def health(address: str, service: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return (await health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)).status


async def test_a_call_over_mtls_and_every_process_is_live_and_ready(
    common_gateway: Gateway, phone: Phone
) -> None:
    gateway = common_gateway
    call = await phone.call("builtin", gateway.sip(0))
    audio = noise(1.0, seed=40)
    await call.rtp.stream(audio, call.media)
    assert await call.rtp.hears(audio, 0.5)
    call.destination = gateway.sip(1)
    assert (await call.bye()).status == 200, "edges hear each other over mTLS"
    for service in [gateway.registry, *gateway.relays, *gateway.edges]:
        asked = [await health(service.ready["health"], name) for name in ("liveness", "readiness", "")]
        assert asked == [SERVING] * 3, service.name


async def test_who_shows_no_certificate_or_the_wrong_role_is_not_served(common_gateway: Gateway) -> None:
    gateway = common_gateway
    plain = RegistryClient(gateway.registry_target)
    with pytest.raises(RegistryUnreachable):
        await plain.list_calls()
    await plain.aclose()
    relay = RegistryClient(gateway.registry_target, tls=gateway.tls("relay"))
    await relay.list_calls()
    config = await relay.get_config()
    assert config is not None
    with pytest.raises(RegistryRefused) as refused:
        await relay.put_config(config, config.version)
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert "this is for operator; the certificate shows relay" in str(refused.value)
    await relay.aclose()


def all_show_their_files(gateway: Gateway) -> bool:
    """Return whether each process presents the certificate that is in its files now."""
    roles = {gateway.registry: "registry", **dict.fromkeys(gateway.relays, "relay")}
    roles |= dict.fromkeys(gateway.edges, "edge")
    return all(
        shown_by(service) == ssl.PEM_cert_to_DER_cert((gateway.tls_path(role) / "tls.crt").read_text())
        for service, role in roles.items()
    )


def shown_by(service: Service) -> bytes | None:
    """Return the certificate that a process presents in a handshake."""
    host, port = service.ready["listen"].rsplit(":", 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, int(port)), 5) as plain, context.wrap_socket(plain) as dialled:
        return dialled.getpeercert(binary_form=True)


async def test_authorities_are_rotated_under_a_call(cluster_gateway: Gateway, phone: Phone) -> None:
    """Trust both authorities, sign by the new one, drop the old one; calls are set up all the time."""
    gateway = cluster_gateway
    old, new = gateway.authority, TestAuthority("next")
    both = old.certificate + new.certificate
    standing = await phone.call("builtin", gateway.sip(0))
    for signs, believed in [(old, both), (new, both), (new, new.certificate)]:
        for role in ("edge", "relay", "registry", "operator"):
            signs.write_leaf(gateway.tls_path(role), role, believe=believed)
        await eventually(lambda: asyncio.to_thread(all_show_their_files, gateway), 10)
        assert await gateway.calls(), "a new connection"
        call = await phone.call("builtin", gateway.sip(0))
        call.destination = gateway.sip(1)
        assert (await call.bye()).status == 200
    gateway.edges[1].kill()
    gateway.start_edge(1)  # it trusts the new authority alone

    async def takes_calls() -> bool:
        call = await phone.new_call("builtin", gateway.sip(1))
        return (await call.invite()).status == 200

    await eventually(takes_calls, 15)
    assert (await standing.bye()).status == 200


async def test_the_command_line_shows_a_certificate_too(common_gateway: Gateway, phone: Phone) -> None:
    gateway = common_gateway
    await phone.call("builtin", gateway.sip(0))
    sipgw = [str(Path(sys.executable).parent / "sipgw"), "calls", "--registry", gateway.registry_target]

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*sipgw, *flags], capture_output=True, text=True, timeout=30, check=False)

    shown = run("--json", "--tls-dir", str(gateway.tls_path("operator")))
    assert '"route": "builtin"' in shown.stdout, shown.stderr
    assert run().returncode == 1
    missing = run("--tls-dir", "/nowhere")
    assert missing.returncode == 2
    assert "sipgw: --tls-dir /nowhere: ca.crt: No such file or directory" in missing.stderr


async def test_addresses_follow_the_config_by_node(cluster_gateway: Gateway, phone: Phone) -> None:
    gateway = cluster_gateway
    before = await phone.call("builtin", gateway.sip(0))
    client = gateway.client()
    config = await client.get_config()
    assert config is not None
    config.gateway.advertised_addresses.update({"node-0": "198.51.100.10", "node-1": "198.51.100.11"})
    await client.put_config(config, config.version)

    async def is_advertised() -> bool:
        call = await phone.new_call("builtin", gateway.sip(0))
        answer = await call.invite(ack=False)
        call.remote_target = ""
        contact = re.search(r"@([^:>]+)", answer["contact"])
        assert contact is not None
        return contact.group(1) == "198.51.100.10" and b"c=IN IP4 198.51.100.10" in answer.body

    await eventually(is_advertised, 5)

    async def is_registered() -> bool:
        registered = {one.registration.node: one.registration for one in await client.list_relays()}
        relay = registered["node-1"]
        assert relay.control_address.startswith("127.0.0.1:"), "control stays inside"
        return relay.advertised_address == "198.51.100.11"

    await eventually(is_registered, 5)
    await client.aclose()
    audio = noise(1.0, seed=41)
    await before.rtp.stream(audio, before.media)
    assert await before.rtp.hears(audio, 0.5), "a call that stands keeps its address"
    assert (await before.bye()).status == 200


async def test_a_relay_on_doubtful_ports_says_so_in_its_registration(
    common_gateway: Gateway, tmp_path: Path
) -> None:
    first = middle_of_the_local_ports()
    gateway = common_gateway
    relay = Service(
        "relay-x",
        [
            *(Path(sys.executable).parent / "sipgw-relay", "--name", "relay-x", "--ordinal", "9"),
            *("--rtp-ports", f"{first}-{first + 19}", "--registry", gateway.registry_target),
            *("--tls-dir", gateway.tls_path("relay"), "--node", "node-x"),
        ],
        tmp_path,
    )
    relay.start()
    client = gateway.client()
    try:

        async def warned() -> bool:
            known = {one.registration.node: one.registration.warnings for one in await client.list_relays()}
            return any("ip_local_reserved_ports" in warning for warning in known.get("node-x", ()))

        await eventually(warned, 5)
    finally:
        await client.aclose()
        relay.stop()
