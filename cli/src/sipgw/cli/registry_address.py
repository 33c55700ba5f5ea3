"""The registry for a command: --registry, SIPGW_REGISTRY, else that of the `sipgw up` running here.

A gateway with mTLS requires our certificate (--tls-dir): the operator's has every right.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from sipgw.cli.problems import MISUSED, give_up

if TYPE_CHECKING:
    from sipgw.control import RegistryClient

RegistryFlag = Annotated[
    str | None,
    typer.Option(
        envvar="SIPGW_REGISTRY", help="host:port of a registry (default: the `sipgw up` of this machine)."
    ),
]
TlsFlag = Annotated[
    str,
    typer.Option(
        "--tls-dir",
        envvar="SIPGW_TLS_DIR",
        help="Directory of ca.crt, tls.crt, tls.key; empty: plaintext.",
    ),
]


def open_registry(address: str, tls_dir: str) -> "RegistryClient":
    """Return a client for `address`. End the process with a reason when the certificates don't work."""
    from sipgw.control import RegistryClient
    from sipgw.runtime.errors import StartupError
    from sipgw.runtime.tls import tls_directory

    try:
        return RegistryClient(address, tls=tls_directory(tls_dir))
    except StartupError as error:
        give_up(error, status=MISUSED)


def find_registry(told: str | None) -> str:
    """Return host:port. End the process with a reason when there is none, or several."""
    if told:
        return told
    from sipgw.local.state_file import running_gateways

    running = running_gateways()
    if not running:
        give_up(
            "no gateway runs here; start one with `sipgw up`, or name a registry with --registry",
            status=MISUSED,
        )
    if len(running) > 1:
        choices = ", ".join(f"{gateway.registry} (pid {gateway.pid})" for gateway in running)
        give_up(f"several gateways run here; choose one with --registry: {choices}", status=MISUSED)
    return running[0].registry
