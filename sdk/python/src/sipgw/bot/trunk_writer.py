"""Compose the messages of a trunk: frames in batches, in order, under a size limit."""

from collections import deque

from sipgw.api import voicebot_pb2 as pb

_MESSAGE_BYTES = 512 * 1024  # the contract allows 1 MiB


class TrunkComposer:
    """Items in, messages out. Frames of different calls share a batch; anything else closes it."""

    def __init__(self) -> None:
        self._full: deque[pb.TrunkActions] = deque()
        self._message = pb.TrunkActions()
        self._size = 0
        self._format_id = 0
        self._handles: dict[int, bytes] = {}  # the open batch, in order

    def add_audio(self, handle: int, data: bytes, *, format_id: int, frame_bytes: int) -> None:
        """Add speech of one call, of any length."""
        if len(data) != frame_bytes:
            self._close_batch()
            self._add_batch(format_id, {handle: data}, len(data))
            return
        if handle in self._handles or format_id != self._format_id:
            self._close_batch()
            self._format_id = format_id
        self._handles[handle] = data

    def add(self, action: pb.TrunkAction) -> None:
        """Add any other item."""
        self._close_batch()
        self._message.items.append(action)
        self._grew(action.ByteSize())

    def take(self) -> pb.TrunkActions | None:
        """Return the next message to write; None when there is nothing."""
        if self._full:
            return self._full.popleft()
        self._close_batch()
        if not self._message.items:
            return None
        message, self._message, self._size = self._message, pb.TrunkActions(), 0
        return message

    def _close_batch(self) -> None:
        if self._handles:
            frames, self._handles = self._handles, {}
            self._add_batch(self._format_id, frames, len(next(iter(frames.values()))))

    def _add_batch(self, format_id: int, frames: dict[int, bytes], frame_bytes: int) -> None:
        batch = self._message.items.add().audio
        batch.format_id = format_id
        batch.frame_bytes = frame_bytes
        batch.handles.extend(frames)
        batch.audio = b"".join(frames.values())
        self._grew(len(batch.audio) + 8 * len(frames))

    def _grew(self, count: int) -> None:
        self._size += count
        if self._size >= _MESSAGE_BYTES:
            self._full.append(self._message)
            self._message, self._size = pb.TrunkActions(), 0
