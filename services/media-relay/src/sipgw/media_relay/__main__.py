"""The command line of the relay process (sipgw-relay)."""

import ipaddress
from typing import Annotated

import typer

from sipgw.media_relay.app import run_relay
from sipgw.media_relay.settings import DrainTimes, RelayEndpoints, RelayIdentity, RelaySettings, RtpSettings
from sipgw.runtime.errors import StartupError
from sipgw.runtime.lifecycle import Lifecycle, run_service
from sipgw.runtime.telemetry.logs import configure_logging
from sipgw.runtime.telemetry.traces import configure_tracing
from sipgw.runtime.tls import tls_directory

app = typer.Typer(add_completion=False)


@app.command()
def relay(
    name: Annotated[str, typer.Option(help="Name of this relay; unique in the gateway.")] = "relay-0",
    ordinal: Annotated[int, typer.Option(min=0)] = 0,
    lane: Annotated[int, typer.Option(min=0)] = 0,
    listen: Annotated[str, typer.Option(help="host:port of the control gRPC server.")] = "127.0.0.1:0",
    bind: Annotated[
        str,
        typer.Option(
            help="Address of the RTP sockets, used where --advertise is not an address of this machine."
        ),
    ] = "0.0.0.0",
    advertise: Annotated[str, typer.Option(help="IP address that callers send RTP to.")] = "127.0.0.1",
    rtp_ports: Annotated[
        str, typer.Option(help="Range of RTP ports, LOW-HIGH; LOW is even.")
    ] = "20000-22399",
    registry: Annotated[
        str,
        typer.Option(
            help="host:port of the registry, or several separated by commas; empty: register nowhere."
        ),
    ] = "",
    admin: Annotated[
        str, typer.Option(help="host:port of the HTTP server of /metrics, /healthz and /readyz.")
    ] = "",
    health: Annotated[
        str, typer.Option(help="host:port of the gRPC health server (plaintext), for liveness and readiness.")
    ] = "",
    tls_dir: Annotated[
        str,
        typer.Option(
            envvar="SIPGW_TLS_DIR", help="Directory of ca.crt, tls.crt and tls.key; empty: plaintext."
        ),
    ] = "",
    node: Annotated[
        str,
        typer.Option(help="Node name. The node's advertised address in the config overrides --advertise."),
    ] = "",
    capacity: Annotated[
        int, typer.Option(min=0, help="Cost units that the relay can take; 0: one for each pair of ports.")
    ] = 0,
    revision: Annotated[
        str, typer.Option(help="Revision of the release. Relays of the newest revision are filled first.")
    ] = "",
    drain_seconds: Annotated[
        float,
        typer.Option(min=0, help="Longest wait for calls to end after SIGTERM. The config can shorten it."),
    ] = 5.0,
    drain_deadline: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds to wait for a pause in each call; the config's value unless given."
        ),
    ] = None,
    media_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds without RTP after which the edge is told; 0: never.")
    ] = 30.0,
    log_level: Annotated[str, typer.Option()] = "info",
) -> None:
    """Run a media relay until SIGTERM."""
    configure_logging("relay", level=log_level, instance=name)
    configure_tracing("relay", name)

    async def run(lifecycle: Lifecycle) -> int:
        low, high = _read_range(rtp_ports)
        settings = RelaySettings(
            identity=RelayIdentity(name, ordinal, lane, revision, node),
            endpoints=RelayEndpoints(listen, registry, admin, health, tls_directory(tls_dir)),
            rtp=RtpSettings(_address(bind, "--bind"), _address(advertise, "--advertise"), low, high),
            drain=_drain_times(drain_seconds, drain_deadline),
            capacity=capacity,
            media_timeout_s=media_timeout,
        )
        return await run_relay(settings, lifecycle)

    raise typer.Exit(run_service(run))


def _read_range(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    if not dash or not low.isdecimal() or not high.isdecimal():
        raise StartupError(f"--rtp-ports {text}: write LOW-HIGH, as in 20000-22399")
    return int(low), int(high)


def _drain_times(most_s: float, deadline_s: float | None) -> DrainTimes:
    return DrainTimes(most_s) if deadline_s is None else DrainTimes(most_s, deadline_s, has_own_deadline=True)


def _address(text: str, flag: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise StartupError(f"{flag} {text}: write an IP address") from error
    return text


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
