"""GrpcBridgeStage: takes callers' audio to the bots, and the bots' audio back.

The calls' side uses wire format; bots have their own codec and rate. Whole blocks are converted. Where the
formats are equal, bytes are passed on unchanged.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import AudioFormat, Codec, PayloadU8
from sipgw.media_relay.bots.conversion import FormatConversion
from sipgw.media_relay.bots.gateway import GrpcBotGateway
from sipgw.media_relay.bots.interface import BotListener, BotSpeech
from sipgw.media_relay.bots.resolver import Resolve, resolve_by_system
from sipgw.media_relay.pipeline.block import FrameBlock
from sipgw.media_relay.pipeline.stage import Tick
from sipgw.media_relay.streams.bot_call import BotCall, BytesU64, HandlesU32
from sipgw.media_relay.streams.columns import MAX_ROWS, ROW_MASK, Rows, groups
from sipgw.media_relay.streams.counters import BotCounters

_NONE: Final = -1


class GrpcBridgeStage:
    """A `Stage` and a `BotGateway`. It takes the uplink rows of open calls."""

    def __init__(
        self, speech: BotSpeech, *, instance: str = "", resolve: Resolve = resolve_by_system
    ) -> None:
        self._speech = speech
        self._gateway = GrpcBotGateway(self, instance=instance, resolve=resolve)
        self._conversions: list[FormatConversion] = []
        self._numbers: dict[tuple[AudioFormat, AudioFormat], int] = {}
        self._conversion = np.full(MAX_ROWS, _NONE, dtype=np.int16)
        """The index of each row's conversion."""
        self._handle = np.zeros(MAX_ROWS, dtype=np.uint32)
        self._bot_bytes = np.ones(MAX_ROWS, dtype=np.uint64)
        """For each row, this many bytes in the bot's format ..."""
        self._wire_bytes = np.ones(MAX_ROWS, dtype=np.uint64)
        """... correspond to this many bytes on the wire."""

    @property
    def counters(self) -> BotCounters:
        """Totals for the relay's metrics."""
        return self._gateway.counters

    # -- Stage

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Send open calls' frames to their bots; return the other rows."""
        rows = block.rows.astype(np.intp)
        rest = block.none()
        for number, chosen in groups(self._conversion[rows]):
            if number != _NONE:
                self._send(self._conversions[number], block, rows, chosen)
            else:
                rest = block if chosen is None else block.take(chosen)
        return rest

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Pass the block on unchanged; see Stage."""
        return block

    # -- BotGateway

    def open(self, handle: int, call: BotCall, listener: BotListener) -> None:
        """Attach the call to a bot; see BotGateway."""
        if call.wire_format.frame_ms != call.bot_format.frame_ms:
            reason = (
                f"frames of {call.bot_format.frame_ms} ms: the relay sends {call.wire_format.frame_ms} ms"
            )
            listener.bot_failed(handle, reason, before_ready=True)
            return
        row = handle & int(ROW_MASK)
        number = self._conversion_number(call.wire_format, call.bot_format)
        conversion = self._conversions[number]
        conversion.reset(row)
        self._conversion[row] = number
        self._handle[row] = handle
        bot_bytes, wire_bytes = conversion.bot_bytes_per_wire_bytes
        self._bot_bytes[row], self._wire_bytes[row] = bot_bytes, wire_bytes
        limit = call.playout_limit_bytes * bot_bytes // wire_bytes
        self._gateway.open(handle, replace(call, playout_limit_bytes=limit), listener)

    def change_codec(self, handle: int, codec: Codec) -> None:
        """Convert to the caller's new codec; see BotGateway."""
        row = handle & int(ROW_MASK)
        if self._handle[row] != handle or self._conversion[row] == _NONE:
            return
        before = self._conversions[int(self._conversion[row])]
        number = self._conversion_number(replace(before.wire, codec=codec), before.bot)
        self._conversions[number].go_on_from(before, row)
        self._conversion[row] = number

    def send_digit(self, handle: int, digit: str, *, end: bool) -> None:
        """Tell a call's bot of a key; see BotGateway."""
        self._gateway.send_digit(handle, digit, end=end)

    def send_event(self, handle: int, event: pb.CallEvent) -> None:
        """Send an event to a call's bot; see BotGateway."""
        self._gateway.send_event(handle, event)

    def consumed(self, handles: HandlesU32, total_bytes: BytesU64) -> None:
        """Pass on the amount of speech consumed; see BotGateway."""
        rows = (handles & ROW_MASK).astype(np.intp)
        self._gateway.consumed(handles, total_bytes * self._bot_bytes[rows] // self._wire_bytes[rows])

    def warm(self, call: BotCall) -> None:
        """Connect to a bot in advance; see BotGateway."""
        self._gateway.warm(call)

    def close(self, handle: int, reason: str, *, moved: bool = False) -> None:
        """End a call for its bot; see BotGateway."""
        row = handle & int(ROW_MASK)
        if self._handle[row] == handle:
            self._conversion[row] = _NONE
        self._gateway.close(handle, reason, moved=moved)

    async def aclose(self) -> None:
        """Close every call and stream; see BotGateway."""
        await self._gateway.aclose()

    # -- BotSpeech: from the bots

    def bot_audio(self, handles: HandlesU32, frames: PayloadU8, audio_format: AudioFormat) -> None:
        """Convert frames of bots to wire format; see BotSpeech."""
        rows = (handles & ROW_MASK).astype(np.intp)
        for number, chosen in groups(self._conversion[rows]):
            if number == _NONE:
                continue
            conversion = self._conversions[number]
            if chosen is None:
                self._speech.bot_audio(handles, conversion.to_wire(rows, frames), conversion.wire)
            else:
                wire_frames = conversion.to_wire(rows[chosen], frames[chosen])
                self._speech.bot_audio(handles[chosen], wire_frames, conversion.wire)

    def bot_speech(self, handle: int, data: bytes | memoryview, audio_format: AudioFormat) -> None:
        """Convert speech of a bot to wire format; see BotSpeech."""
        row = handle & int(ROW_MASK)
        if self._conversion[row] == _NONE:
            return
        conversion = self._conversions[int(self._conversion[row])]
        wire_data = conversion.speech_to_wire(row, data)
        if len(wire_data):
            self._speech.bot_speech(handle, wire_data, conversion.wire)

    # -- inside

    def _conversion_number(self, wire: AudioFormat, bot: AudioFormat) -> int:
        key = (wire, bot)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._conversions)
            self._conversions.append(FormatConversion(wire, bot, MAX_ROWS))
        return number

    def _send(
        self,
        conversion: FormatConversion,
        block: FrameBlock,
        rows: Rows,
        chosen: npt.NDArray[np.bool_] | None,
    ) -> None:
        seq, flags, payload = block.seq, block.flags, block.payload
        if chosen is not None:
            rows, seq, flags, payload = rows[chosen], seq[chosen], flags[chosen], payload[chosen]
        self._gateway.send_frames(conversion.bot, rows, seq, flags, conversion.to_bot(rows, payload))
