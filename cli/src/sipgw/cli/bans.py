"""`sipgw bans`: list the sources that edges ban, and lift a ban."""

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sipgw.cli.problems import give_up, quieten_libraries
from sipgw.cli.registry_address import RegistryFlag, TlsFlag, find_registry, open_registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from sipgw.api.registry.v1.registry_pb2 import Ban, LiftBanResponse, ListBansResponse


def bans(
    lift: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Lift the ban of this source, as the list shows it.")
    ] = None,
    registry: RegistryFlag = None,
    tls_dir: TlsFlag = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per ban.")] = False,
) -> None:
    """List the banned sources and why; or lift a ban."""
    from sipgw.control import ControlError

    quieten_libraries()
    address = find_registry(registry)
    try:
        if lift is not None:
            _tell_lifted(lift, asyncio.run(_lift(address, tls_dir, lift)))
        else:
            _show(asyncio.run(_list(address, tls_dir)), as_json=as_json)
    except ControlError as error:
        give_up(f"registry {address}: {error}")


async def _list(address: str, tls_dir: str) -> "ListBansResponse":
    client = open_registry(address, tls_dir)
    try:
        return await client.list_bans()
    finally:
        await client.aclose()


async def _lift(address: str, tls_dir: str, source: str) -> "LiftBanResponse | None":
    client = open_registry(address, tls_dir)
    try:
        return await client.lift_ban(source)
    finally:
        await client.aclose()


def _show(found: "ListBansResponse", *, as_json: bool) -> None:
    if as_json:
        for ban in found.bans:
            print(_as_json(ban))
    elif found.bans:
        from rich.console import Console

        Console().print(table_of(found.bans))
    elif not found.silent_edges:
        print("no bans")
    _require_all(found.silent_edges)


def _tell_lifted(source: str, lifted: "LiftBanResponse | None") -> None:
    if lifted is None:
        give_up(f"no ban on {source}; `sipgw bans` lists them")
    if lifted.edges:
        print(f"{source} may send again ({', '.join(lifted.edges)})")
    _require_all(lifted.silent_edges)


def _require_all(silent: "Sequence[str]") -> None:
    if silent:
        give_up(f"no answer from {', '.join(silent)}; their bans are unknown: try again")


def table_of(found: "Iterable[Ban]") -> "Table":
    """Return a table with one row for each ban of an edge."""
    from rich.table import Table

    table = Table(expand=False)
    for heading in ("source", "reason", "since", "until", "refused", "edge"):
        table.add_column(heading, no_wrap=heading in ("source", "since", "until"))
    for ban in found:
        times = (_time_of(ban.since_ms), _time_of(ban.until_ms))
        table.add_row(ban.source, ban.reason, *times, str(ban.refused), ban.edge)
    return table


def _time_of(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _as_json(ban: "Ban") -> str:
    from google.protobuf.json_format import MessageToDict

    return json.dumps(
        MessageToDict(ban, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )
