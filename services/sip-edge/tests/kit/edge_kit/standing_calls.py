"""Calls that stand, and what their edge knows of them."""

from typing import Any

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge
from sipgw.api.calls.v1 import session_pb2 as calls


def copy_of(edge: TestEdge, call: CallerDialog) -> calls.CallSession | None:
    """The record as `edge` last saved it; None: it does not own the call."""
    return edge.app.records.copy_of(call.call_id)


def relay_of(edge: TestEdge, call: CallerDialog) -> str:
    """The relay that has the call, once it is not on its way to another."""
    session = copy_of(edge, call)
    return session.media.relay.name if session is not None and not session.HasField("move") else ""


async def established(edge: TestEdge, caller: Caller, **fields: Any) -> CallerDialog:
    """A call whose ACK the edge has."""
    call = await CallerDialog.established(caller, edge.sip, **fields)

    def stands() -> bool:
        session = copy_of(edge, call)
        return session is not None and session.state == calls.CALL_STATE_ESTABLISHED

    await edge.until(stands)
    return call
