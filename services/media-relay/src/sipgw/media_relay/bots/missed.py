"""MissedWords: a caller's audio and keys, in order, from the time without a bot. Pure."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from sipgw.api import voicebot_pb2 as pb

LIMIT_MS: Final = 10_000
LIMIT_BYTES: Final = 160 * 1024
EVENT_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class MissedFrame:
    """One frame of the caller, in the bot's format."""

    seq: int
    flags: int
    data: bytes


@dataclass(slots=True)
class Part:
    """The next part of the missed audio and keys: events, and then frames."""

    events: list[pb.CallEvent] = field(default_factory=list[pb.CallEvent])
    frames: list[MissedFrame] = field(default_factory=list[MissedFrame])


class MissedWords:
    """A queue of frames and events. Beyond its limits it drops the oldest frame, or the oldest event."""

    def __init__(self, frame_ms: int) -> None:
        self._frame_limit = max(1, LIMIT_MS // frame_ms)
        self._items: deque[MissedFrame | pb.CallEvent] = deque()
        self._frames = 0
        self._bytes = 0
        self.last_seq: int | None = None
        """The seq of the newest frame; None without any."""

    def __len__(self) -> int:
        return len(self._items)

    def add_frame(self, frame: MissedFrame) -> None:
        """Add the caller's audio of one period."""
        self._items.append(frame)
        self._frames += 1
        self._bytes += len(frame.data)
        self.last_seq = frame.seq
        while self._frames > self._frame_limit or self._bytes > LIMIT_BYTES:
            self._drop_oldest_frame()

    def add_event(self, event: pb.CallEvent) -> None:
        """Add a key that the caller pressed or released."""
        self._items.append(event)
        events = [item for item in self._items if isinstance(item, pb.CallEvent)]
        if len(events) > EVENT_LIMIT:
            self._items.remove(events[0])

    def take(self, frames: int) -> Part:
        """Take the events at the head and up to so many frames that follow them, as far as the next event."""
        part = Part()
        while self._items and isinstance(event := self._items[0], pb.CallEvent):
            part.events.append(event)
            self._items.popleft()
        while self._items and len(part.frames) < frames and isinstance(frame := self._items[0], MissedFrame):
            part.frames.append(frame)
            self._items.popleft()
            self._frames -= 1
            self._bytes -= len(frame.data)
        if not self._frames:
            self.last_seq = None
        return part

    def drop_frames(self) -> None:
        """Drop all frames: the bot wants none."""
        self._items = deque(item for item in self._items if isinstance(item, pb.CallEvent))
        self._frames = self._bytes = 0
        self.last_seq = None

    def _drop_oldest_frame(self) -> None:
        for index, item in enumerate(self._items):
            if isinstance(item, MissedFrame):
                del self._items[index]
                self._frames -= 1
                self._bytes -= len(item.data)
                return
