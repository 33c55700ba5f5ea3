"""TurnStage: measures the bot's response time: from the end of the caller's speech to the bot's.

It looks at one byte in sixteen of each frame, undecoded: in G.711 the byte itself orders by loudness.
Overlapping speech is no turn.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.audio import Codec, g711
from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.stage import TICK_MS, Tick

Mask = npt.NDArray[np.bool_]

SPEECH_MAGNITUDE: Final = 400
"""The loudest inspected sample of a quiet voice. The noise of a line is below."""
_STRIDE: Final = 16
_BOT_PAUSE_TICKS: Final = 200 // TICK_MS
"""A bot that goes on after a shorter pause has not begun a new turn."""
_CALLER_PAUSE_TICKS: Final = 60 // TICK_MS
"""An answer that comes sooner has interrupted the caller."""
_LONG_AGO: Final = -(1 << 40)
_SIGN: Final = np.uint8(0x80)
_ALAW_EVEN_BITS: Final = np.uint8(0x55)
_ORDER: Final = np.arange(128, dtype=np.uint8)
"""The codes without their sign."""


def _least(pcm: npt.NDArray[np.int16]) -> np.uint8:
    """Return how many codes, loudest first, are speech."""
    return np.uint8(np.count_nonzero(np.abs(pcm.astype(np.int32)) >= SPEECH_MAGNITUDE))


# µ-law's loudest code is 0 of 127, A-law's is 127 when its even bits are turned round.
_MULAW_BELOW: Final = _least(g711.mulaw_decode(_ORDER))
_ALAW_FROM: Final = np.uint8(128) - _least(g711.alaw_decode(_ORDER))


class TurnStage:
    """Hears all rows and takes none. `on_turn(row, seconds)` is told of each answer of a bot."""

    def __init__(self, rows: int, on_turn: Callable[[int, float], None]) -> None:
        self._on_turn = on_turn
        self._last_caller = np.full(rows, _LONG_AGO, np.int64)
        """The tick of the last frame with speech."""
        self._last_bot = np.full(rows, _LONG_AGO, np.int64)
        self._has_asked = np.zeros(rows, np.bool_)
        """Whether the caller has spoken since the bot's last turn."""

    def open(self, row: int) -> None:
        """Forget the row's earlier call."""
        self._last_caller[row] = self._last_bot[row] = _LONG_AGO
        self._has_asked[row] = False

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Note which callers speak; see Stage."""
        rows = block.rows[_speaks(block, block.flags & FrameFlag.CONCEALED == 0)]
        self._last_caller[rows] = tick.number
        self._has_asked[rows] = True
        return block

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Note which bots begin to speak, and report answers; see Stage."""
        has_audio = block.flags & FrameFlag.IDLE == 0
        if has_audio.any():
            rows = block.rows[_speaks(block, has_audio)]
            begins = tick.number - self._last_bot[rows] >= _BOT_PAUSE_TICKS
            self._last_bot[rows] = tick.number
            answers = begins & self._has_asked[rows]
            answers &= tick.number - self._last_caller[rows] >= _CALLER_PAUSE_TICKS
            if answers.any():
                self._tell(rows[answers], tick)
        return block

    def _tell(self, rows: npt.NDArray[np.uint32], tick: Tick) -> None:
        self._has_asked[rows] = False
        ticks = tick.number - self._last_caller[rows]
        for row, waited in zip(rows.tolist(), ticks.tolist(), strict=True):
            self._on_turn(row, waited * TICK_MS / 1000)


def _speaks(block: FrameBlock, has_audio: Mask) -> Mask:
    """Return which rows have audio with a loud sample in it."""
    seen = np.ascontiguousarray(block.payload[:, ::_STRIDE].T)
    match block.format.codec:
        case Codec.PCMU:
            loud = (seen & ~_SIGN).min(axis=0) < _MULAW_BELOW
        case Codec.PCMA:
            loud = ((seen ^ _ALAW_EVEN_BITS) & ~_SIGN).max(axis=0) >= _ALAW_FROM
        case _:
            return np.zeros(len(block), np.bool_)
    return has_audio & loud
