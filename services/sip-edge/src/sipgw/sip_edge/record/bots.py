"""Changes of the record by news of the call's bot: pure functions, False if nothing changes."""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.sip_edge.record.states import HAS_SESSION


def note_ready(draft: calls.CallSession, ready: relay.BotReady) -> bool:
    """Note that the bot is ready, its address, and whether another relay can resume it.

    False: already noted.
    """
    bot = draft.bot
    if (bot.ready, bot.address, bot.can_resume) == (True, ready.address, ready.can_resume):
        return False
    bot.ready, bot.address, bot.can_resume = True, ready.address, ready.can_resume
    return True


def fall_back(draft: calls.CallSession, *, failed: str, chosen: str, ringing_until_ms: int) -> bool:
    """Replace the bot `failed` by `chosen`, which has until `ringing_until_ms` while the call rings."""
    if draft.state not in HAS_SESSION or draft.bot.endpoint != failed:
        return False
    draft.bot.endpoint, draft.bot.address, draft.bot.ready = chosen, "", False
    if draft.state == calls.CALL_STATE_RINGING:
        draft.deadline_ms = ringing_until_ms
    return True
