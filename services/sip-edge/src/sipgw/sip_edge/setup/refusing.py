"""End a call whose set-up cannot go on."""

from sipgw.sip_edge.call.ending import CallEnding, End
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.store import StoreUnavailable


async def refuse(ending: CallEnding, live: LiveCall, end: End) -> None:
    """End the call. If the end cannot be saved, the call's deadline ends it."""
    try:
        await ending.end(live.call_id, end, as_owner=True)
    except StoreUnavailable as error:
        live.log.warning("refusal_not_saved", error=str(error))
