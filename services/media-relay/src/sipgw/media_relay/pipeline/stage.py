"""The interfaces of a pipeline stage.

A call is known by its row in the columns (below 65536) and, across time, by its handle (generation << 16 |
row).
"""

from dataclasses import dataclass
from typing import Final, Protocol

from sipgw.audio import PayloadU8
from sipgw.media_relay.pipeline.block import FrameBlock, RowsU32

ROW_BITS: Final = 16
UPLINK_FRAME_MS: Final = 20
TICK_MS: Final = 5


def handle_of(row: int, generation: int) -> int:
    """Return the handle of a row's use."""
    return (generation & 0xFFFF) << ROW_BITS | row


def row_of(handle: int) -> int:
    """Return the row of a handle."""
    return handle & 0xFFFF


@dataclass(frozen=True, slots=True)
class Tick:
    """One step of the relay's clock."""

    number: int
    """Periods of TICK_MS since the relay started. Numbers are skipped after a stall."""
    at_s: float
    """Monotonic time."""


class Stage(Protocol):
    """A link of the chain. It handles its own rows and passes on the others.

    Both directions run within the tick: nothing here may wait, and Python work for each call is paid a
    thousand times. `uplink` gets frames of 20 ms from the callers and returns the rows that it did not take.
    `downlink` gets the next frames to send, in the wire's format and packet time, and returns those that are
    sent instead (all its rows, changed or not).
    """

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Handle callers' frames; return the rows that others are to handle."""
        ...

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Handle frames for callers; return what to send."""
        ...


class Playout(Protocol):
    """The queue of audio for callers. Stages fill it; the relay's own clock sends it.

    Audio is in the wire format of the rows (codec and rate; any length). Nothing blocks: what exceeds a
    call's limit of 64 KiB is refused and counted.
    """

    def play_frames(self, rows: RowsU32, frames: PayloadU8) -> None:
        """Append one frame (n, bytes) to each of n different rows, as columns."""
        ...

    def play_bytes(self, row: int, audio: bytes) -> None:
        """Append audio of any length to one row."""
        ...
