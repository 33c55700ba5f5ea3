"""Established calls, and their edge's record of them."""

from typing import Any

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge
from sipgw.api.calls.v1 import session_pb2 as calls


def copy_of(edge: TestEdge, call: CallerDialog) -> calls.CallSession | None:
    """Give the record as `edge` last saved it; None: the edge does not own the call."""
    return edge.app.records.copy_of(call.call_id)


def relay_of(edge: TestEdge, call: CallerDialog) -> str:
    """Give the name of the call's relay; "" while it moves to another."""
    record = copy_of(edge, call)
    return record.media.relay.name if record is not None and not record.HasField("move") else ""


async def established(edge: TestEdge, caller: Caller, **fields: Any) -> CallerDialog:
    """Make a call whose ACK the edge has."""
    call = await CallerDialog.established(caller, edge.sip, **fields)

    def stands() -> bool:
        record = copy_of(edge, call)
        return record is not None and record.state == calls.CALL_STATE_ESTABLISHED

    await edge.until(stands)
    return call
