"""The command `sipgw-edge`: read the flags, run the edge until SIGTERM."""

import re
from pathlib import Path
from typing import Annotated

import typer

from sipgw.runtime.errors import StartupError
from sipgw.runtime.lifecycle import Lifecycle, announce_ready, run_service
from sipgw.runtime.settings import HostPort, new_identity
from sipgw.runtime.telemetry.logs import configure_logging
from sipgw.runtime.telemetry.traces import configure_tracing
from sipgw.runtime.tls import tls_directory
from sipgw.sip_edge.app import EdgeApp
from sipgw.sip_edge.guard.sources import Networks
from sipgw.sip_edge.settings import EdgeSettings, OnStop
from sipgw.sip_edge.sip.listeners import UdpListener
from sipgw.store import Store, StoreUrlError

SERVICE = "edge"
_app = typer.Typer(add_completion=False)


def advertised_address(text: str) -> HostPort:
    """Read "IP[:PORT]"; an IPv6 address with a port stands in brackets. Port 0 stands for the bound port."""
    has_port = re.fullmatch(r"(\[.*\]|[^:]*):[0-9]+", text)
    return HostPort.parse(text) if has_port else HostPort(text.strip("[]"), 0)


async def serve(settings: EdgeSettings, lifecycle: Lifecycle) -> None:
    """Run an edge until it is told to stop. Raises StartupError for an address that it cannot bind."""
    listener = UdpListener(settings.sip)
    try:
        store = await Store.connect(settings.redis_url)
    except StoreUrlError as error:
        raise StartupError(f"--redis: {error}") from error
    edge = EdgeApp(settings, store, listener)
    bound = await edge.start()
    lifecycle.freeze_heap()
    announce_ready(incarnation=settings.identity.incarnation, **bound)
    await lifecycle.stopping.wait()
    await edge.stop()


@_app.command()
def run(
    name: Annotated[str, typer.Option(help="This edge's name, unique among the edges.")],
    sip: Annotated[str, typer.Option(help="host:port to receive SIP on (UDP).")],
    advertise: Annotated[str, typer.Option(help="IP[:PORT] at which peers reach this edge.")],
    listen: Annotated[str, typer.Option(help="host:port of edge/v1 (gRPC).")],
    registry: Annotated[
        str,
        typer.Option(
            help="host:port of the registry; for several replicas, their addresses separated by commas."
        ),
    ],
    redis: Annotated[
        str,
        typer.Option(
            envvar="SIPGW_REDIS_URL",
            help="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// URL.",
        ),
    ],
    admin: Annotated[str | None, typer.Option(help="host:port of /metrics, /healthz and /readyz.")] = None,
    health: Annotated[
        str | None, typer.Option(help="host:port of gRPC health, plaintext: liveness, readiness.")
    ] = None,
    tls_dir: Annotated[
        str, typer.Option(envvar="SIPGW_TLS_DIR", help="ca.crt, tls.crt, tls.key; empty: plaintext.")
    ] = "",
    node: Annotated[
        str, typer.Option(help="Node name: its advertised address in the config replaces --advertise.")
    ] = "",
    on_stop: Annotated[
        OnStop, typer.Option(help="At SIGTERM: end the calls, or leave them to the other edges.")
    ] = OnStop.END,
    seal_key_file: Annotated[
        Path | None, typer.Option(help="File with the key that unseals trunks' passwords in the config.")
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR", help="Network whose sources are never banned, like those of trunks. Repeatable."
        ),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the SIP edge of the gateway."""
    configure_logging(SERVICE, level=log_level, instance=name)
    configure_tracing(SERVICE, name)

    async def main(lifecycle: Lifecycle) -> None:
        advertised = advertised_address(advertise)
        try:
            Networks(trust or ())
        except ValueError as error:
            raise StartupError(f"--trust: {error}") from error
        settings = EdgeSettings(
            identity=new_identity(name),
            sip=HostPort.parse(sip),
            advertise_host=advertised.host,
            advertise_port=advertised.port,
            listen=listen,
            registry=registry,
            redis_url=redis,
            admin=HostPort.parse(admin) if admin else None,
            health=HostPort.parse(health) if health else None,
            tls=tls_directory(tls_dir),
            node=node,
            on_stop=on_stop,
            seal_key_file=seal_key_file,
            trusted=tuple(trust or ()),
        )
        await serve(settings, lifecycle)

    raise SystemExit(run_service(main))


def main() -> None:
    """Run the command."""
    _app()


if __name__ == "__main__":
    main()
