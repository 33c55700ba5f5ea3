"""Session: one call on this relay."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sipgw.media_relay.plane.media_parameters import MediaParameters
    from sipgw.media_relay.streams.bot_call import BotCall
    from sipgw.runtime.telemetry.traces import TraceIds

BUILTIN_ECHO: Final = "builtin:echo"
COST_TRUNK: Final = 1
COST_STREAM_CALL: Final = 10


@dataclass(slots=True)
class Session:
    """What is known of it beside the columns."""

    call_id: str
    row: int
    handle: int
    fence: tuple[int, int]  # (owner epoch, generation)
    edge: str
    rtp_port: int
    media: MediaParameters
    bot: BotCall | None  # None: builtin:echo
    is_early: bool
    created_s: float
    is_confirmed: bool = False
    is_started: bool = False
    answered_s: float = 0.0
    trace: TraceIds | None = None
    answered_ns: int = 0  # unix time
    attached_s: float = 0.0  # when its edge was last here
    cost: int = COST_TRUNK
    digits: str = ""
    has_timed_out: bool = False
    waits_for_start: bool = False  # with its bot stream: another relay has the call until then
    can_resume: bool = True  # its bot goes on with the call on another relay's stream
    is_ending: bool = False  # the bot has hung up, finished or transferred; its last words are being played
    is_doubted: bool = False  # this process stood still: the call may be elsewhere
    asked_to_move_s: float = 0.0
    digits_to_send: deque[tuple[str, int]] = field(default_factory=deque[tuple[str, int]])

    @property
    def log_ids(self) -> dict[str, str]:
        """What every log line of the call carries."""
        return {"call_id": self.call_id, "trace_id": self.trace.trace_id if self.trace is not None else ""}

    @property
    def bot_endpoint(self) -> str:
        return self.bot.endpoint if self.bot is not None else BUILTIN_ECHO

    @property
    def uplink_frame_ms(self) -> int:
        return self.bot.bot_format.frame_ms if self.bot is not None else 20
