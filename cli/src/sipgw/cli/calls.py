"""`sipgw calls` and `sipgw hangup`: the call map of a registry."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from sipgw.cli.problems import give_up, quieten_libraries
from sipgw.cli.registry_address import RegistryFlag, TlsFlag, find_registry, open_registry

if TYPE_CHECKING:
    from sipgw.control import RegistryClient


def calls(
    registry: RegistryFlag = None,
    tls_dir: TlsFlag = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show changes until Ctrl-C.")] = False,
    ended: Annotated[bool, typer.Option("--ended", help="Also list recently ended calls.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per call.")] = False,
) -> None:
    """List the calls of the gateway."""
    from sipgw.control import ControlError

    quieten_libraries()
    address = find_registry(registry)
    try:
        asyncio.run(_calls(address, tls_dir, watch=watch, ended=ended, as_json=as_json))
    except ControlError as error:
        give_up(f"registry {address}: {error}")
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def hangup(
    call_id: Annotated[str, typer.Argument(help="Call id as `sipgw calls` shows it, or its first digits.")],
    reason: Annotated[str, typer.Option(help="Reason in the call record.")] = "hung up by command",
    registry: RegistryFlag = None,
    tls_dir: TlsFlag = "",
) -> None:
    """End a call."""
    from sipgw.control import ControlError

    quieten_libraries()
    address = find_registry(registry)
    try:
        asyncio.run(_hangup(address, tls_dir, call_id, reason))
    except ControlError as error:
        give_up(f"registry {address}: {error}")


async def _calls(address: str, tls_dir: str, *, watch: bool, ended: bool, as_json: bool) -> None:
    client = open_registry(address, tls_dir)
    try:
        await (_watch(client, as_json=as_json) if watch else _list(client, ended=ended, as_json=as_json))
    finally:
        await client.aclose()


async def _list(client: "RegistryClient", *, ended: bool, as_json: bool) -> None:
    from rich.console import Console

    from sipgw.cli.calls_view import table_of

    found = await client.list_calls(include_ended=ended)
    if as_json:
        for call in found:
            print(_as_json(call))
    elif found:
        Console().print(table_of(found))
    else:
        print("no calls")


async def _watch(client: "RegistryClient", *, as_json: bool) -> None:
    from sipgw.cli.show import Lines, show_for

    shown = Lines(_as_json) if as_json else show_for(f"calls of {client.target}")
    with shown:
        async for change in client.watch_calls():
            shown.changed(change.calls, is_snapshot=change.is_snapshot)


async def _hangup(address: str, tls_dir: str, call_id: str, reason: str) -> None:
    client = open_registry(address, tls_dir)
    try:
        matching = [c.call_id for c in await client.list_calls() if c.call_id.startswith(call_id)]
        if len(matching) > 1:
            give_up(f"{call_id} is the beginning of {len(matching)} calls: {', '.join(matching)}")
        if not matching or not await client.hangup_call(matching[0], reason):
            give_up(f"no call {call_id}; `sipgw calls` lists them")
        print(f"ended {matching[0]}")
    finally:
        await client.aclose()


def _as_json(call: object) -> str:
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import Message

    assert isinstance(call, Message)
    return json.dumps(MessageToDict(call, preserving_proto_field_name=True))
