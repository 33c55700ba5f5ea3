"""EchoStage: plays the caller's audio back, byte for byte: the bot `builtin:echo`."""

from typing import Final

import numpy as np

from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.stage import Playout, Tick

_CONCEALED: Final = int(FrameFlag.CONCEALED)


class EchoStage:
    """Takes the rows of calls that have the built-in echo."""

    def __init__(self, rows: int, playout: Playout) -> None:
        self._playout = playout
        self._is_mine = np.zeros(rows, np.bool_)
        self._count = 0

    def open(self, row: int) -> None:
        """Give the row's call the echo."""
        self._count += not self._is_mine[row]
        self._is_mine[row] = True

    def close(self, row: int) -> None:
        """Take the echo from the row."""
        self._count -= bool(self._is_mine[row])
        self._is_mine[row] = False

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Play back the caller's audio, except concealed frames: the playout fills these with silence."""
        del tick
        if not self._count:
            return block
        mine = self._is_mine[block.rows]
        heard = mine & (block.flags & _CONCEALED == 0)
        if heard.all():
            self._playout.play_frames(block.rows, block.payload)
            return block.none()
        if heard.any():
            self._playout.play_frames(block.rows[heard], block.payload[heard])
        return block.take(~mine)

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Pass the block on unchanged; see Stage."""
        del tick
        return block
