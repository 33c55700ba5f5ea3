"""What is heard of a call's bot, as changes of the record: pure, False where there is nothing to change."""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.sip_edge.record.states import HAS_SESSION


def note_ready(draft: calls.CallSession, ready: relay.BotReady) -> bool:
    """Note that the bot is ready, where, and whether it can go on at another relay. False: no news."""
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
