"""The interface between a call's attachment and the stream that carries it, whichever RPC that is."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import PayloadU8
from sipgw.media_relay.streams.columns import Rows


@dataclass(frozen=True, slots=True)
class Finished:
    """The bot ended the call's stream with OK."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The stream ended in any other way."""

    reason: str
    is_final: bool = False
    """Whether trying again is useless."""
    is_unreachable: bool = False
    """Whether there was no connection to the bot."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """The bot has the call on a stream with a higher epoch."""


StreamEnd: TypeAlias = Finished | Broken | Superseded


class AttachedCall(Protocol):
    """The call, as its stream sees it."""

    @property
    def row(self) -> int:
        """The call's row in the columns."""
        ...

    def became_ready(self, *, confirmed: bool) -> None:
        """Note that the bot is ready; `confirmed`: it has sent something itself."""
        ...

    def receive_action(self, action: pb.CallAction) -> None:
        """Take anything but audio and accept, in order."""
        ...

    def stream_ended(self, end: StreamEnd) -> None:
        """Note how the stream ended. Called once; nothing follows."""
        ...


class SpeechSink(Protocol):
    """Takes the bots' speech."""

    def receive_frames(self, rows: Rows, frames: PayloadU8, format_id: int) -> None:
        """Take one whole frame, shape (n, frame_bytes), for each of n different rows of that format."""
        ...

    def receive_speech(self, row: int, data: bytes | memoryview) -> None:
        """Take speech of any length, in the row's own format."""
        ...


class CallStream(Protocol):
    """The stream of one call to its bot."""

    def send_event(self, event: pb.CallEvent) -> None:
        """Send anything but audio. call_id is filled in where the RPC has it."""
        ...

    @property
    def can_resume(self) -> bool:
        """Whether the bot declared `resume`."""
        ...

    @property
    def wants_replay(self) -> bool:
        """Whether the bot declared `replay`: it wants the audio that it missed."""
        ...

    @property
    def keeps_up(self) -> bool:
        """Whether the bot receives audio without delay, so that more may follow."""
        ...

    def close(self, reason: str, *, moved: bool = False) -> None:
        """Tell the bot that the call is over, or that it goes on elsewhere. stream_ended does not follow."""
        ...

    def give_credit(self) -> None:
        """Tell the bot of its consumed speech: the row's `consumed` rose enough."""
        ...
