"""StreamParts: what all streams to bots share."""

from dataclasses import dataclass

from sipgw.media_relay.streams.columns import CallColumns
from sipgw.media_relay.streams.counters import BotCounters
from sipgw.media_relay.streams.stream import SpeechSink
from sipgw.media_relay.streams.wire import FormatIds


@dataclass(frozen=True, slots=True)
class StreamParts:
    """The parts that streams share: columns and formats of all calls, the target of speech, and counters."""

    columns: CallColumns
    formats: FormatIds
    sink: SpeechSink
    counters: BotCounters
