"""CallBots: the bot of each call: a bot stream, or the built-in echo."""

import numpy as np
import numpy.typing as npt

from sipgw.api import voicebot_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.audio import Codec
from sipgw.media_relay.bots.interface import BotGateway, BotListener
from sipgw.media_relay.calls.event_log import EventLog
from sipgw.media_relay.calls.session import BUILTIN_ECHO, Session
from sipgw.media_relay.stages.echo import EchoStage
from sipgw.media_relay.streams.bot_call import HandlesU32


class CallBots:
    """Opens, tells and closes each call's bot. Single-threaded, on the loop; nothing here waits."""

    def __init__(self, streams: BotGateway, echo: EchoStage, events: EventLog) -> None:
        self._streams = streams
        self._echo = echo
        self._events = events

    def attach(self, session: Session, listener: BotListener) -> None:
        """Open the call's bot, whose actions the listener hears.

        For a call that waits for Start, only connect to the bot.
        """
        if session.waits_for_start:
            if session.bot is not None:
                self._streams.warm(session.bot)
        elif session.bot is None:
            self._echo.open(session.row)
            ready = pb.BotReady(confirmed=True, address=BUILTIN_ECHO, protocol="builtin")
            self._events.tell(session, bot_ready=ready)
        else:
            self._streams.open(session.handle, session.bot, listener)

    def close(self, session: Session, reason: str, *, moved: bool = False) -> None:
        """End the call for its bot. `moved`: the call goes on elsewhere."""
        if session.bot is None:
            self._echo.close(session.row)
        else:
            self._streams.close(session.handle, reason, moved=moved)

    def change_codec(self, session: Session, codec: Codec) -> None:
        """Convert to and from the caller's new codec; the bot keeps its format."""
        if session.bot is not None:
            self._streams.change_codec(session.handle, codec)

    def tell(self, session: Session, event: voicebot_pb2.CallEvent) -> None:
        """Send an event to the call's bot stream, if it has one."""
        if session.bot is not None:
            self._streams.send_event(session.handle, event)

    def tell_digit(self, session: Session, digit: str, *, end: bool) -> None:
        """Tell the call's bot stream, if it has one, that the caller pressed or released a key."""
        if session.bot is not None:
            self._streams.send_digit(session.handle, digit, end=end)

    def tell_consumed(self, handles: HandlesU32, total_bytes: npt.NDArray[np.int64]) -> None:
        """Tell bots how much of their speech was played or dropped since their calls began."""
        self._streams.consumed(handles, total_bytes.astype("uint64"))
