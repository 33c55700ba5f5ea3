"""`sipgw-registry`: read the flags and run the registry until SIGTERM."""

from typing import Annotated, Final

import typer

from sipgw.registry.app import RegistryApp, RegistrySettings
from sipgw.registry.call_record import Numbers
from sipgw.runtime.errors import StartupError
from sipgw.runtime.lifecycle import Lifecycle, announce_ready, run_service
from sipgw.runtime.settings import HostPort
from sipgw.runtime.telemetry.logs import configure_logging
from sipgw.runtime.telemetry.traces import configure_tracing
from sipgw.runtime.tls import tls_directory
from sipgw.store import Store, StoreUrlError

SERVICE: Final = "registry"
_FIRST_READING_S: Final = 2.0
_app = typer.Typer(add_completion=False)


async def serve(settings: RegistrySettings, redis_url: str, lifecycle: Lifecycle) -> None:
    """Run a registry until told to stop. Raises StartupError for wrong flags."""
    try:
        store = await Store.connect(redis_url)
    except StoreUrlError as error:
        raise StartupError(str(error)) from error
    registry = RegistryApp(settings, store)
    bound = await registry.start()
    await registry.materialised(_FIRST_READING_S)
    lifecycle.freeze_heap()
    announce_ready(**bound)
    await lifecycle.stopping.wait()
    await registry.stop()


@_app.command()
def run(
    listen: Annotated[str, typer.Option(help="host:port of registry/v1 (gRPC); port 0 for any.")],
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
    numbers: Annotated[
        Numbers,
        typer.Option(
            "--record-numbers",
            envvar="SIPGW_RECORD_NUMBERS",
            help="The callers' and called numbers in call records: full, masked to three digits, or none.",
        ),
    ] = Numbers.FULL,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the registry of the gateway: calls, relays, config."""
    configure_logging(SERVICE, level=log_level)
    configure_tracing(SERVICE, "")

    async def main(lifecycle: Lifecycle) -> None:
        settings = RegistrySettings(
            HostPort.parse(listen),
            admin=HostPort.parse(admin) if admin else None,
            health=HostPort.parse(health) if health else None,
            tls=tls_directory(tls_dir),
            numbers=numbers,
        )
        await serve(settings, redis, lifecycle)

    raise SystemExit(run_service(main))


def main() -> None:
    """Run as the console script."""
    _app()


if __name__ == "__main__":
    main()
