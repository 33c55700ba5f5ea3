"""What it means that a relay refuses a command as stale: the call's record has changed since. Another edge
has the call now, or it is over.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.control import RelayRefused
from sipgw.sip_edge.errors import CallOver
from sipgw.sip_edge.record.records import CallRecords


@asynccontextmanager
async def stale_is_over(records: CallRecords, call_id: str) -> AsyncGenerator[None]:
    """Read the record again and raise CallOver where the block's command to the relay is refused as stale."""
    try:
        yield
    except RelayRefused as refused:
        if refused.status != relay.COMMAND_STATUS_STALE:
            raise
        raise CallOver(call_id, await records.reload(call_id)) from refused
