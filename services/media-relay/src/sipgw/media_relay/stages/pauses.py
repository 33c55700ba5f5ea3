"""PauseStage: since when neither caller nor bot has spoken, for each call. It works only during a drain."""

from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.audio.level import dbov
from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.stage import TICK_MS, Tick

SPEECH_DBOV: Final = -45.0
"""A quiet voice. The noise of a line is below."""
PAUSE_MS: Final = 300
"""Shorter pauses are between words."""


class PauseStage:
    """Hears all rows and takes none, from `begin` to `stop`."""

    def __init__(self, rows: int) -> None:
        self._is_listening = False
        self._last_speech = np.zeros(rows, np.int64)
        """The tick of the last frame with speech."""

    def begin(self, tick_number: int) -> None:
        """Listen from now on. No row counts as silent before a whole pause has passed."""
        self._is_listening = True
        self._last_speech[:] = tick_number

    def stop(self) -> None:
        """Stop listening."""
        self._is_listening = False

    def is_pause(self, row: int, tick_number: int) -> bool:
        """Return whether both sides have been silent for long enough."""
        return (tick_number - int(self._last_speech[row])) * TICK_MS >= PAUSE_MS

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Note which callers speak; see Stage."""
        if self._is_listening:
            self._hear(block, block.flags & FrameFlag.CONCEALED == 0, tick)
        return block

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Note which bots speak; see Stage."""
        if self._is_listening:
            self._hear(block, block.flags & FrameFlag.IDLE == 0, tick)
        return block

    def _hear(self, block: FrameBlock, has_audio: npt.NDArray[np.bool_], tick: Tick) -> None:
        if has_audio.any():
            speaking = has_audio & (dbov(block.pcm) > SPEECH_DBOV)
            self._last_speech[block.rows[speaking]] = tick.number
