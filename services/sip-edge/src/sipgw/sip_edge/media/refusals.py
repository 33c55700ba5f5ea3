"""Interpret that a relay does not carry out a command.

If it refuses the command as stale, the call's record has changed since: another edge has the call now, or it
is over. After any other refusal, or a timeout, the call has to go to another relay.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.control import RelayRefused, RelayUnreachable
from sipgw.sip_edge.errors import CallOver, NotTaken
from sipgw.sip_edge.record.records import CallRecords


@asynccontextmanager
async def telling_relay(records: CallRecords, record: calls.CallSession) -> AsyncGenerator[None]:
    """Raise CallOver if the block's command is refused as stale, NotTaken if it fails otherwise."""
    try:
        yield
    except RelayRefused as refused:
        if refused.status == relay.COMMAND_STATUS_STALE:
            raise CallOver(record.call_id, await records.reload(record.call_id)) from refused
        raise NotTaken(record, refused.message, refused.status) from refused
    except RelayUnreachable as error:
        raise NotTaken(record, str(error)) from error
