"""The processes of a gateway: a pure function from settings to commands."""

import sys
from pathlib import Path

from sipgw.local.redis_server import answers_ping, redis_command
from sipgw.local.service import ServiceSpec, Stage
from sipgw.local.settings import GatewaySettings

_ANY = "127.0.0.1:0"


def redis_service(binary: Path, socket_path: Path) -> ServiceSpec:
    """Return a Redis on a Unix socket."""
    return ServiceSpec(
        "redis",
        Stage.REDIS,
        redis_command(binary, socket_path),
        is_ready=lambda: answers_ping(socket_path),
        stop_timeout_s=5.0,
    )


def registry_service(redis_url: str) -> ServiceSpec:
    """Return the registry."""
    return ServiceSpec(
        "registry",
        Stage.REGISTRY,
        _module("sipgw.registry", "--listen", "{listen}", "--admin", "{admin}", "--redis", redis_url),
        binds={"listen": _ANY, "admin": _ANY},
        stop_timeout_s=5.0,
    )


def echo_bot_service() -> ServiceSpec:
    """Return the built-in echo bot."""
    return ServiceSpec(
        "bot",
        Stage.BOT,
        _module("sipgw.bot.echo", "--listen", "{listen}"),
        binds={"listen": _ANY},
        stop_timeout_s=5.0,
    )


def relay_services(settings: GatewaySettings, registry: str) -> list[ServiceSpec]:
    """Return one relay per lane, each with its share of the RTP ports."""
    return [
        ServiceSpec(
            f"relay-{lane}",
            Stage.RELAY,
            _module(
                "sipgw.media_relay",
                *("--name", f"relay-{lane}", "--ordinal", "0", "--lane", str(lane)),
                *("--listen", "{listen}", "--admin", "{admin}"),
                *("--bind", settings.sip_host, "--advertise", settings.advertise),
                *("--rtp-ports", str(ports), "--registry", registry),
            ),
            binds={"listen": _ANY, "admin": _ANY},
            # The first start on a machine compiles the media plane.
            ready_timeout_s=180.0,
        )
        for lane, ports in enumerate(settings.rtp_ports)
    ]


def edge_services(
    settings: GatewaySettings, registry: str, redis_url: str, seal_key_file: Path
) -> list[ServiceSpec]:
    """Return the edges, each on a SIP port of its own."""
    return [
        ServiceSpec(
            f"edge-{index}",
            Stage.EDGE,
            _module(
                "sipgw.sip_edge",
                *("--name", f"edge-{index}", "--sip", "{sip}", "--advertise", settings.advertise),
                *("--listen", "{listen}", "--admin", "{admin}"),
                *("--registry", registry, "--redis", redis_url),
                *("--seal-key-file", str(seal_key_file)),
                *(flag for network in settings.trusted for flag in ("--trust", network)),
            ),
            binds={"sip": f"{settings.sip_host}:{port}", "listen": _ANY, "admin": _ANY},
        )
        for index, port in enumerate(settings.sip_ports)
    ]


def _module(name: str, *flags: str) -> tuple[str, ...]:
    """Return `python -m` with our own interpreter: nothing depends on the PATH."""
    return (sys.executable, "-m", name, *flags)
