"""TurnStage: measures the bot's response time: from the end of the caller's speech to the bot's.

It looks at one byte in sixteen of each frame, undecoded: in G.711 the byte itself orders by loudness.
Overlapping speech is no turn.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.audio import Codec, g711
from sipgw.media_relay.kernels.turns import hear_bots, hear_callers
from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.stage import TICK_MS, Tick
from sipgw.rtp.kernels.columns import Calls

SPEECH_MAGNITUDE: Final = 400
"""The loudest inspected sample of a quiet voice. The noise of a line is below."""
_BOT_PAUSE_TICKS: Final = 200 // TICK_MS
"""A bot that goes on after a shorter pause has not begun a new turn."""
_CALLER_PAUSE_TICKS: Final = 60 // TICK_MS
"""An answer that comes sooner has interrupted the caller."""
_CONCEALED: Final = int(FrameFlag.CONCEALED)
_IDLE: Final = int(FrameFlag.IDLE)
_LONG_AGO: Final = -(1 << 40)
_SIGN: Final = np.uint8(0x80)
_ALAW_EVEN_BITS: Final = np.uint8(0x55)
_ORDER: Final = np.arange(128, dtype=np.uint8)
"""The codes without their sign."""


def _least(pcm: npt.NDArray[np.int16]) -> np.uint8:
    """Return how many codes, loudest first, are speech."""
    return np.uint8(np.count_nonzero(np.abs(pcm.astype(np.int32)) >= SPEECH_MAGNITUDE))


# µ-law's loudest code is 0 of 127, A-law's is 127 when its even bits are turned round.
_CODES: Final = np.arange(256, dtype=np.uint8)
_LOUD: Final = {
    Codec.PCMU: (_least(g711.mulaw_decode(_ORDER)) > (_CODES & ~_SIGN)).astype(np.uint8),
    Codec.PCMA: (
        np.uint8(128) - _least(g711.alaw_decode(_ORDER)) <= ((_CODES ^ _ALAW_EVEN_BITS) & ~_SIGN)
    ).astype(np.uint8),
}
"""The codes that are speech, of either sign, by codec."""


class TurnStage:
    """Hears all rows and takes none. `on_turn(row, seconds)` is told of each answer of a bot."""

    def __init__(self, calls: Calls, on_turn: Callable[[int, float], None]) -> None:
        self._calls = calls
        self._on_turn = on_turn
        self._answered = np.zeros(len(calls), np.int64)
        self._hear_callers = {codec: hear_callers.bind(calls, loud) for codec, loud in _LOUD.items()}
        self._hear_bots = {
            codec: hear_bots.bind(calls, self._answered, loud) for codec, loud in _LOUD.items()
        }

    def open(self, row: int) -> None:
        """Forget the row's earlier call."""
        turn = self._calls[row]["turn"]
        turn["last_caller"] = turn["last_bot"] = _LONG_AGO
        turn["has_asked"] = False

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Note which callers speak; see Stage."""
        if (hear := self._hear_callers.get(block.format.codec)) is not None:
            hear(block.rows, block.payload, block.flags, _CONCEALED, tick.number)
        return block

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Note which bots begin to speak, and report answers; see Stage."""
        if (hear := self._hear_bots.get(block.format.codec)) is not None:
            answers = hear(
                block.rows,
                block.payload,
                block.flags,
                _IDLE,
                tick.number,
                _BOT_PAUSE_TICKS,
                _CALLER_PAUSE_TICKS,
            )
            for row in self._answered[:answers].tolist():
                waited = tick.number - int(self._calls[row]["turn"]["last_caller"])
                self._on_turn(row, waited * TICK_MS / 1000)
        return block
