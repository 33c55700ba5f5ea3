"""A call's speech: sent through its present stream, kept until the caller has heard it.

When the call continues in another gateway process (it moved, or its relay died), the speech that the caller
has not heard yet is sent again there.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import AudioFormat
from sipgw.bot.room import PlayoutRoom

_LASTING = frozenset({"mark", "control"})  # act when the speech before them has been heard
_FLEETING = frozenset({"accept", "clear"})  # meaningless on a later stream


class CallStream(Protocol):
    """The stream through which a call sends. Methods return at once and keep the order."""

    def send_audio(self, data: bytes) -> None:
        """Send speech in the gateway's format."""

    def send_action(self, action: pb.CallAction) -> None:
        """Send an action."""

    def supersede(self) -> None:
        """Stop sending: a later stream has the call."""
        ...


@dataclass(frozen=True, slots=True)
class _Said:
    end: int
    """Position in all speech, in bytes."""
    item: bytes | pb.CallAction


class Speech:
    """Counts bytes in the gateway's format since the call's start. `attach` it to a stream."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self.room = PlayoutRoom(None)
        self.keeps = False  # the gateway resumes calls: keep unheard speech
        self._stream: CallStream | None = None
        self._bytes_a_second = audio_format.frame_bytes * 1000 / audio_format.frame_ms
        self._unheard: deque[_Said] = deque()
        self._heard_by_s = 0.0  # when the caller has heard all, unless something delays it

    @property
    def stream(self) -> CallStream | None:
        """The stream that carries the call; None while there is none."""
        return self._stream

    def attach(self, stream: CallStream, limit: int | None) -> int:
        """Speak through `stream` from now on; return the position at which it begins."""
        self._stream = stream
        self.room.limit_to(limit)
        begin = self.room.consumed
        again, self._unheard = self._unheard, deque()
        self.room.rewind(begin)
        for said in again:
            if isinstance(said.item, bytes):
                if said.end > begin:
                    self.send_audio(said.item[-(said.end - begin) :])
            else:
                self.send_action(said.item)
        return begin

    def detach(self) -> None:
        """Note that the stream is gone. Speech that must have been played by now counts as heard."""
        self._stream = None
        ahead_s = max(0.0, self._heard_by_s - _now_s())
        frame = 2  # a whole sample in any format
        unheard = int(ahead_s * self._bytes_a_second) // frame * frame
        self.consumed_to(self.room.sent - unheard)

    def send_audio(self, data: bytes) -> None:
        """Send speech, and keep it until it is heard."""
        self.room.take(len(data))
        self._heard_by_s = max(self._heard_by_s, _now_s()) + len(data) / self._bytes_a_second
        if self.keeps:
            self._unheard.append(_Said(self.room.sent, data))
        if self._stream is not None:
            self._stream.send_audio(data)

    def send_action(self, action: pb.CallAction) -> None:
        """Send an action, and keep it if it has to last."""
        kind = action.WhichOneof("payload") or ""
        if self.keeps and (kind in _LASTING or (self._stream is None and kind not in _FLEETING)):
            self._unheard.append(_Said(self.room.sent, action))
        if self._stream is not None:
            self._stream.send_action(action)

    def clear(self) -> None:
        """Drop unplayed speech, here and at the gateway."""
        self.room.clear()
        self._heard_by_s = 0.0
        self._unheard = deque(said for said in self._unheard if not isinstance(said.item, bytes))

    def consumed_to(self, total: int) -> None:
        """Note that the gateway has played or dropped so many bytes of all speech."""
        self.room.consumed_to(total)
        if any(isinstance(said.item, bytes) and said.end <= total for said in self._unheard):
            self._unheard = deque(
                said for said in self._unheard if not isinstance(said.item, bytes) or said.end > total
            )

    def played(self, mark: str) -> None:
        """Drop a mark that was answered."""
        self._unheard = deque(
            said
            for said in self._unheard
            if isinstance(said.item, bytes) or said.item.mark.name != mark or not said.item.HasField("mark")
        )


def _now_s() -> float:
    return asyncio.get_running_loop().time()
