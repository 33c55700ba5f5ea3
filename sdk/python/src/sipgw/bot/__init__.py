"""Write a voice bot: an `async def` per call, served over both RPCs of voicebot.VoiceBot."""

from sipgw.bot.call import Call, Frame
from sipgw.bot.config import CallConfig
from sipgw.bot.errors import BotError, CallEnded, ListenFailed
from sipgw.bot.events import (
    Answered,
    Dtmf,
    DtmfDown,
    Event,
    GatewayError,
    Hold,
    Played,
    ReplayMark,
    Resumed,
    TransferOutcome,
)
from sipgw.bot.runner import Bot
from sipgw.bot.server import BotServer, serve

__all__ = [
    "Answered",
    "Bot",
    "BotError",
    "BotServer",
    "Call",
    "CallConfig",
    "CallEnded",
    "Dtmf",
    "DtmfDown",
    "Event",
    "Frame",
    "GatewayError",
    "Hold",
    "ListenFailed",
    "Played",
    "ReplayMark",
    "Resumed",
    "TransferOutcome",
    "serve",
]
