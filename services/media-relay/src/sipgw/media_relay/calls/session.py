"""Session: the state of one call on this relay, apart from the media plane's columns."""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final, TypeAlias

from sipgw.audio import Codec
from sipgw.media_relay.plane.media_parameters import MediaParameters
from sipgw.media_relay.streams.bot_call import BotCall
from sipgw.runtime.telemetry.traces import TraceIds

BUILTIN_ECHO: Final = "builtin:echo"
COST_TRUNK: Final = 1
COST_STREAM_CALL: Final = 10

Fence: TypeAlias = tuple[int, int]
"""The (owner epoch, generation) of a command. A lower one than the call has seen is stale."""


@dataclass(frozen=True, slots=True)
class CallSpec:
    """The content of an Allocate command, read and checked."""

    media: MediaParameters
    bot: BotCall | None
    """None: the call has the built-in echo."""
    is_live: bool
    """Whether a backlog of the bot's speech is worked off at once rather than in pauses."""
    is_early: bool
    """Whether media flows before the call is answered."""
    waits_for_start: bool
    """Whether the bot stream opens at Start only: until then another relay has the call."""
    elapsed_ms: int | None
    """How long the call has lasted on another relay; None for a new call."""
    recording: Path | None
    trace: TraceIds | None


@dataclass(frozen=True, slots=True)
class Seat:
    """The call's row in the columns, the handle that names this use of the row, and the RTP port."""

    row: int
    handle: int
    rtp_port: int


class KeyWay(Enum):
    """How a caller's keys come."""

    RTP = auto()
    SIGNALLING = auto()


class Session:
    """The state of one call. Commands, bots and the passing of time change it by the methods below."""

    def __init__(
        self, call_id: str, seat: Seat, fence: Fence, edge: str, spec: CallSpec, now_s: float
    ) -> None:
        self.call_id = call_id
        self.row = seat.row
        self.handle = seat.handle
        self.rtp_port = seat.rtp_port
        self.trace = spec.trace
        self.fence = fence
        self.edge = edge
        """The edge that owns the call: it gets the call's events."""
        self.attached_s = now_s
        """When the owning edge was last connected."""
        self.created_s = now_s
        """Since when the session waits for an edge to confirm it."""
        self.is_confirmed = False
        self.is_doubted = False
        """Whether this process stood still, so that the call may be elsewhere by now."""
        self.media = spec.media
        self.is_early = spec.is_early
        self.is_started = False
        self.answered_s = 0.0
        self.answered_ns = 0
        """Unix time of the answer."""
        self.bot = spec.bot
        self.waits_for_start = spec.waits_for_start
        self.can_resume = spec.bot is None
        """Whether the bot can go on with the call on another relay's stream."""
        self.cost = COST_TRUNK
        self.is_ending = False
        """Whether the bot has hung up, finished or transferred, and its last words are being played."""
        self.digits = ""
        self.key_way: KeyWay | None = None
        """The keys that the caller has pressed."""
        self.digits_to_send: deque[tuple[str, int]] = deque()
        """The bot's keys that are not sent yet, each string with its milliseconds a key."""
        self.has_timed_out = False
        self.asked_to_move_s = 0.0

    @property
    def log_ids(self) -> dict[str, str]:
        """The fields that every log line of the call carries."""
        return {"call_id": self.call_id, "trace_id": self.trace.trace_id if self.trace is not None else ""}

    @property
    def bot_endpoint(self) -> str:
        """The bot's "host:port", or the name of the built-in echo."""
        return self.bot.endpoint if self.bot is not None else BUILTIN_ECHO

    @property
    def uplink_frame_ms(self) -> int:
        """The length of the caller's frames, as the bot wants them."""
        return self.bot.bot_format.frame_ms if self.bot is not None else 20

    @property
    def is_held(self) -> bool:
        """Whether the call is on hold, in either direction."""
        return not (self.media.is_sending and self.media.is_receiving)

    # -- ownership

    def raise_fence(self, fence: Fence) -> None:
        """Remember the newest (owner epoch, generation) seen."""
        self.fence = fence

    def give_to(self, edge: str, now_s: float) -> None:
        """Let the edge own the call."""
        self.edge = edge
        self.attached_s = now_s

    def note_edge(self, now_s: float) -> None:
        """Note that the owning edge is connected."""
        self.attached_s = now_s

    def confirm(self) -> bool:
        """Note that an edge has named the call; return whether that was in doubt."""
        was_doubted, self.is_doubted = self.is_doubted, False
        self.is_confirmed = True
        return was_doubted

    def doubt(self, now_s: float) -> None:
        """Wait for an edge to confirm the call anew, as after its Allocate."""
        self.is_doubted, self.is_confirmed = True, False
        self.created_s = now_s

    # -- its media and its bot

    def answer(self, now_s: float, unix_ns: int) -> None:
        """Note that the call is answered."""
        self.is_started = True
        self.answered_s, self.answered_ns = now_s, unix_ns

    def stop_waiting(self) -> bool:
        """Let the bot stream open; return whether it has waited for Start."""
        waited, self.waits_for_start = self.waits_for_start, False
        return waited

    def agree_media(self, media: MediaParameters) -> None:
        """Note the media agreed anew."""
        self.media = media

    def agree_codec(self, codec: Codec) -> None:
        """Note the caller's codec where the bot's stream is described."""
        if self.bot is not None:
            self.bot = self.bot.with_wire_codec(codec)

    def change_bot(self, bot: BotCall | None, handle: int) -> None:
        """Give the call another bot under another handle, so that late actions of the first find no call."""
        self.bot, self.handle, self.can_resume = bot, handle, bot is None

    def note_ready(self, *, cost: int, can_resume: bool) -> None:
        """Note the cost of the bot's stream and whether the bot can resume."""
        self.cost, self.can_resume = cost, can_resume

    def begin_ending(self) -> None:
        """Note that the bot has ended the call; its last words are still being played."""
        self.is_ending = True

    def go_on(self) -> None:
        """Note that the bot goes on: its transfer came to nothing."""
        self.is_ending = False

    def takes_keys_by(self, way: KeyWay) -> bool:
        """Tell whether keys come by this way; the way of the first key is that of the call.

        Many phones send each key by both.
        """
        if self.key_way is None:
            self.key_way = way
        return self.key_way is way

    def add_digit(self, digit: str) -> None:
        """Note a key that the caller pressed."""
        self.digits += digit

    # -- what time brings

    def time_out(self) -> bool:
        """Note that the caller is silent; return whether that is new and so to be reported."""
        was_told, self.has_timed_out = self.has_timed_out, True
        return not was_told

    def note_heard(self) -> None:
        """Note that the caller is not silent."""
        self.has_timed_out = False

    def ask_to_move(self, now_s: float) -> None:
        """Note that the edge was asked to move the call."""
        self.asked_to_move_s = now_s

    def stay(self) -> None:
        """Forget that the edge was asked to move the call."""
        self.asked_to_move_s = 0.0
