"""What a call's attachment and the stream that carries it say to each other, whichever RPC that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from sipgw.api import voicebot_pb2 as pb
    from sipgw.audio import PayloadU8
    from sipgw.media_relay.streams.columns import Rows


@dataclass(frozen=True, slots=True)
class Finished:
    """The bot ended the call's stream as it should."""


@dataclass(frozen=True, slots=True)
class Broken:
    """It ended in any other way."""

    reason: str
    is_final: bool = False
    """No use to try again."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """The bot has the call on a stream with a higher epoch."""


StreamEnd: TypeAlias = Finished | Broken | Superseded


class AttachedCall(Protocol):
    """The call, as its stream sees it."""

    @property
    def row(self) -> int: ...

    def became_ready(self, *, confirmed: bool) -> None: ...

    def receive_action(self, action: pb.CallAction) -> None:
        """Anything but audio and accept, in order."""
        ...

    def stream_ended(self, end: StreamEnd) -> None:
        """Once; nothing follows."""
        ...


class SpeechSink(Protocol):
    """Where the bots' speech goes."""

    def receive_frames(self, rows: Rows, frames: PayloadU8, format_id: int) -> None:
        """One whole frame, shape (n, frame_bytes), for each of n different rows of that format."""
        ...

    def receive_speech(self, row: int, data: bytes | memoryview) -> None:
        """Any length, in the row's own format."""
        ...


class CallStream(Protocol):
    """One call's way to its bot."""

    def send_event(self, event: pb.CallEvent) -> None:
        """Not audio; call_id is filled in where the RPC has it."""
        ...

    @property
    def can_resume(self) -> bool:
        """The bot declared `resume`."""
        ...

    def close(self, reason: str, *, moved: bool = False) -> None:
        """Tell the bot that the call is over, or that it goes on elsewhere. stream_ended does not follow."""
        ...

    def give_credit(self) -> None:
        """The row's `consumed` rose enough for the bot to know."""
        ...
