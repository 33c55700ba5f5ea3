"""gRPC channels between our processes: a dead peer is noticed within seconds, its return at once."""

import ipaddress

import grpc.aio

from sipgw.runtime.errors import StartupError
from sipgw.runtime.rotating_channel import RotatingChannel
from sipgw.runtime.settings import HostPort
from sipgw.runtime.tls import DOMAIN, TlsDirectory, TlsMaterial

MAX_MESSAGE_BYTES = 16 << 20
REGISTRY_KEEPALIVE_S = 1.0
"""A registry on a node that was cut off does not even report its end; the next one is asked after 3 s."""
_CONNECT_TIMEOUT_MS = 1000
_MAX_BACKOFF_MS = 1000


def open_channel(
    target: str, *, role: str = "", tls: TlsDirectory | None = None, keepalive_s: float = 5
) -> grpc.aio.Channel:
    """Return a channel to "host:port"; with `tls` only to a peer whose certificate has the role `role`.

    Several addresses, with commas between, are replicas: the first that can be reached is used. The channel
    pings every `keepalive_s`, also when idle; an unanswered ping closes the connection. It reconnects within
    a second of the peer's return. Proxy variables of the environment are ignored.
    """
    options = _options(keepalive_s)
    target = _grpc_target(target)
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    options = [*options, ("grpc.ssl_target_name_override", f"{role}{DOMAIN}")]

    def secure(material: TlsMaterial) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(target, material.channel_credentials(), options=options)

    return RotatingChannel(tls.current, secure)


def _options(keepalive_s: float) -> list[tuple[str, int | str]]:
    keepalive_ms = int(keepalive_s * 1000)
    # A busy process may stand still for a second; its connections must not be closed for that.
    timeout_ms = min(max(keepalive_ms, 2000), 3000)
    return [
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        # While gRPC's own ping is out it waits for that one instead, for a minute by default.
        ("grpc.http2.ping_timeout_ms", timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # really the time-out of one connection attempt
        ("grpc.min_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
        ("grpc.max_reconnect_backoff_ms", _MAX_BACKOFF_MS),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]


def _grpc_target(target: str) -> str:
    """Return a list of addresses in gRPC's own form; anything else as it is. Raises StartupError."""
    if "," not in target:
        return target
    addresses = [HostPort.parse(address.strip()) for address in target.split(",")]
    try:
        versions = {ipaddress.ip_address(address.host).version for address in addresses}
    except ValueError:
        versions = set[int]()
    if len(versions) != 1:
        raise StartupError(
            f"{target!r}: in a list each address must be an IP address and a port, all IPv4 or all IPv6; "
            "for names, give one name that resolves to all of them"
        )
    return f"ipv{versions.pop()}:{','.join(map(str, addresses))}"
