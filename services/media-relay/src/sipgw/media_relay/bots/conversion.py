"""Convert blocks of rows between wire format and bot format: codecs by table, rates by a polyphase filter."""

from math import gcd
from typing import Self

import numpy as np

from sipgw.audio import AudioFormat, PayloadU8, RowIndices, SamplesI16, decode, encode
from sipgw.audio.resample import PolyphaseResampler


class FormatConversion:
    """Conversion in both directions between one wire format and one bot format.

    Where the formats are equal, the very same bytes are passed on.
    """

    def __init__(self, wire: AudioFormat, bot: AudioFormat, rows: int) -> None:
        self.wire = wire
        self.bot = bot
        self.is_identity = wire == bot
        self._to_bot: PolyphaseResampler | None = None
        self._to_wire: PolyphaseResampler | None = None
        if wire.rate_hz != bot.rate_hz:
            self._to_bot = PolyphaseResampler(rows, wire.rate_hz, bot.rate_hz)
            self._to_wire = PolyphaseResampler(rows, bot.rate_hz, wire.rate_hz)
        step = bot.rate_hz // gcd(
            bot.rate_hz, wire.rate_hz
        )  # the samples for which resampling gives a whole number
        self._step_bytes = step * bot.sample_bytes
        self._rest: dict[int, bytes] = {}
        """The rest of each row's speech that does not fill a resampling step."""

    @property
    def bot_bytes_per_wire_bytes(self) -> tuple[int, int]:
        """How many bytes in the bot's format correspond to how many on the wire."""
        return self.bot.rate_hz * self.bot.sample_bytes, self.wire.rate_hz * self.wire.sample_bytes

    def to_bot(self, rows: RowIndices, payload: PayloadU8) -> PayloadU8:
        """Convert callers' frames: (n, wire.frame_bytes) → (n, bot.frame_bytes)."""
        if self.is_identity:
            return payload
        return encode(self.bot, _resampled(self._to_bot, rows, decode(self.wire, payload)))

    def to_wire(self, rows: RowIndices, frames: PayloadU8) -> PayloadU8:
        """Convert bots' frames: (n, bot.frame_bytes) → (n, wire.frame_bytes)."""
        if self.is_identity:
            return frames
        return encode(self.wire, _resampled(self._to_wire, rows, decode(self.bot, frames)))

    def speech_to_wire(self, row: int, data: bytes | memoryview) -> bytes | memoryview:
        """Convert speech of any length of one bot; keep a rest below one step for the next call."""
        if self.is_identity:
            return data
        rest = self._rest.pop(row, b"")
        joined = rest + bytes(data) if rest else bytes(data)
        whole = len(joined) - len(joined) % self._step_bytes
        if whole < len(joined):
            self._rest[row] = joined[whole:]
        if not whole:
            return b""
        frames = np.frombuffer(joined[:whole], dtype=np.uint8)[np.newaxis, :]
        return self.to_wire(np.array([row]), frames).tobytes()

    def go_on_from(self, other: Self, row: int) -> None:
        """Take over the unconverted rest of a row that used another conversion until now."""
        self.reset(row)
        rest = other._rest.pop(row, None)
        if rest is not None:
            self._rest[row] = rest

    def reset(self, row: int) -> None:
        """Forget the state that an earlier call left on the row."""
        self._rest.pop(row, None)
        for resampler in (self._to_bot, self._to_wire):
            if resampler is not None:
                resampler.reset(row)


def _resampled(resampler: PolyphaseResampler | None, rows: RowIndices, pcm: SamplesI16) -> SamplesI16:
    return pcm if resampler is None else resampler.process(rows, pcm)
