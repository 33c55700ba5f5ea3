"""`sipgw-operator`: read the flags and run the operator until SIGTERM."""

from typing import Annotated, Final

import typer

from sipgw.operator.app import OperatorApp
from sipgw.operator.settings import OperatorSettings, Pki, parse_owner, parse_ports
from sipgw.runtime.lifecycle import Lifecycle, announce_ready, run_service
from sipgw.runtime.settings import HostPort
from sipgw.runtime.telemetry.logs import configure_logging

SERVICE: Final = "operator"
_app = typer.Typer(add_completion=False)


async def serve(settings: OperatorSettings, lifecycle: Lifecycle) -> None:
    """Run an operator until told to stop."""
    operator = OperatorApp(settings)
    bound = await operator.start()
    announce_ready(**bound)
    await lifecycle.stopping.wait()
    await operator.stop()


@_app.command()
def run(
    namespace: Annotated[str, typer.Option(help="Namespace of the release; outside it only nodes are read.")],
    registry: Annotated[str, typer.Option(help="host:port of registry/v1.")],
    release: Annotated[str, typer.Option(help="Name of the release, the prefix of its objects.")] = "sipgw",
    identity: Annotated[str, typer.Option(help="Identity of this replica: its pod's name.")] = "operator",
    pki: Annotated[Pki, typer.Option(help="Issuer of certificates; off: the registry uses plaintext.")] = (
        Pki.OPERATOR
    ),
    owner: Annotated[
        str, typer.Option(help="Kind/name of the owner of Secrets and Lease; empty: none.")
    ] = "default",
    redis_secret: Annotated[
        str,
        typer.Option(help="Secret with the password of the release's own Redis; empty: none."),
    ] = "",
    nodes: Annotated[bool, typer.Option(help="Read the nodes' addresses (needs a ClusterRole).")] = True,
    lanes: Annotated[int, typer.Option(min=0, max=8, help="Relay StatefulSets; 0: as many as exist.")] = 0,
    sip_port: Annotated[int, typer.Option(help="SIP port of the chart, to report ignored ports.")] = 5060,
    rtp_ports: Annotated[
        str, typer.Option(help="RTP ports of all lanes, LOW-HIGH, likewise.")
    ] = "20000-29599",
    admin: Annotated[str, typer.Option(help="host:port of /metrics, /healthz and /readyz.")] = "",
    health: Annotated[str, typer.Option(help="host:port of gRPC health: liveness, readiness.")] = "",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the operator of the gateway: custom resources, relays, certificates."""
    configure_logging(SERVICE, level=log_level, instance=identity)

    async def main(lifecycle: Lifecycle) -> None:
        settings = OperatorSettings(
            namespace=namespace,
            release=release,
            registry=HostPort.parse(registry),
            identity=identity,
            pki=pki,
            redis_secret=redis_secret,
            owner=parse_owner(owner, release),
            watches_nodes=nodes,
            lanes=lanes,
            sip_port=sip_port,
            rtp_ports=parse_ports(rtp_ports),
            admin=HostPort.parse(admin) if admin else None,
            health=HostPort.parse(health) if health else None,
        )
        await serve(settings, lifecycle)

    raise SystemExit(run_service(main))


def main() -> None:
    """Run as the console script."""
    _app()


if __name__ == "__main__":
    main()
