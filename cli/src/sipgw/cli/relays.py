"""`sipgw relays` and `sipgw drain`: list the media relays, and empty one without ending calls."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from sipgw.cli.problems import give_up, quieten_libraries
from sipgw.cli.registry_address import RegistryFlag, TlsFlag, find_registry, open_registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from sipgw.api.registry.v1.registry_pb2 import Relay
    from sipgw.control import RegistryClient

_POLL_S = 0.5


def relays(
    registry: RegistryFlag = None,
    tls_dir: TlsFlag = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per relay.")] = False,
) -> None:
    """List the media relays: calls, room, and which are full, late or draining."""
    from sipgw.control import ControlError

    quieten_libraries()
    address = find_registry(registry)
    try:
        found = asyncio.run(_list(address, tls_dir))
    except ControlError as error:
        give_up(f"registry {address}: {error}")
    if as_json:
        for relay in found:
            print(_as_json(relay))
    elif found:
        from rich.console import Console

        Console().print(table_of(found))
    else:
        print("no relays")


def drain(
    relay: Annotated[str, typer.Argument(help="Relay as `sipgw relays` shows it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Take new calls again; present calls stay.")] = False,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until it has no calls; 0: do not wait.")
    ] = 0,
    registry: RegistryFlag = None,
    tls_dir: TlsFlag = "",
) -> None:
    """Move the calls of a relay to the others, and place no new ones on it."""
    from sipgw.control import ControlError

    quieten_libraries()
    address = find_registry(registry)
    try:
        asyncio.run(_drain(address, tls_dir, relay, undo=undo, wait_s=wait))
    except ControlError as error:
        give_up(f"registry {address}: {error}")


async def _list(address: str, tls_dir: str) -> "list[Relay]":
    client = open_registry(address, tls_dir)
    try:
        return await client.list_relays()
    finally:
        await client.aclose()


async def _drain(address: str, tls_dir: str, name: str, *, undo: bool, wait_s: float) -> None:
    client = open_registry(address, tls_dir)
    try:
        known = await _calls_by_relay(client)
        if name not in known:
            give_up(f"no relay {name} is alive; known relays: {', '.join(sorted(known)) or 'none'}")
        await client.drain_relay(name, drain=not undo)
        if undo:
            print(f"{name} takes calls again")
        elif not wait_s:
            print(f"{name} is draining: {known[name]} calls; `sipgw relays` shows them leave")
        else:
            await _wait_until_empty(client, name, wait_s)
    finally:
        await client.aclose()


async def _wait_until_empty(client: "RegistryClient", name: str, wait_s: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while (left := (await _calls_by_relay(client)).get(name, 0)) and loop.time() < deadline:  # noqa: ASYNC110 - far away
        await asyncio.sleep(_POLL_S)
    if left:
        give_up(f"{left} calls are still on {name}: their callers or bots can't be moved; they may end there")
    print(f"{name} has no calls")


async def _calls_by_relay(client: "RegistryClient") -> dict[str, int]:
    found = await client.list_relays()
    return {relay.registration.relay.name: relay.calls for relay in found if relay.healthy}


def table_of(found: "Iterable[Relay]") -> "Table":
    """Return a table with one row per relay, in the order in which they are filled."""
    from rich.table import Table

    table = Table(expand=False)
    for heading in ("relay", "state", "calls", "units", "ports free", "address", "node"):
        table.add_column(heading, no_wrap=heading == "relay")
    for relay in found:
        facts = relay.registration
        units = f"{relay.used_units}/{facts.capacity_units}"
        counts = (str(relay.calls), units, str(relay.ports_free))
        table.add_row(facts.relay.name, state_of(relay), *counts, facts.advertised_address, facts.node)
    return table


def state_of(relay: "Relay") -> str:
    """Return `ready`, `full` (the CPU is spent), `late` (the audio is late), `draining` or `gone`."""
    if not relay.healthy:
        return "gone"
    if relay.draining:
        return "draining"
    if relay.full:
        return "full"
    return "late" if relay.late else "ready"


def _as_json(relay: "Relay") -> str:
    from google.protobuf.json_format import MessageToDict

    fields = MessageToDict(relay, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return json.dumps({**fields, "state": state_of(relay)})
