"""RelayMetrics: the gauges and counters of the relay's parts, read when they are scraped.

The tick pays nothing for them. The histograms are in `instruments`.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

# Importing it puts the calls' histograms into the registry, whose table this module prints.
from sipgw.media_relay import instruments  # noqa: F401  # pyright: ignore[reportUnusedImport]
from sipgw.media_relay.bots.interface import BotStage
from sipgw.media_relay.calls.drain import Drain
from sipgw.media_relay.calls.event_log import EventLog
from sipgw.media_relay.calls.sessions import Sessions
from sipgw.media_relay.load.gc_pauses import GcPauses
from sipgw.media_relay.load.head_room import RelayHeadRoom
from sipgw.media_relay.load.tick import TickClock
from sipgw.media_relay.plane.media_plane import MediaPlane
from sipgw.media_relay.stages.recording_writer import RecordingWriter
from sipgw.runtime.telemetry.metrics import reference_table


class RelayParts(Protocol):
    """The parts of the relay that are read."""

    @property
    def sessions(self) -> Sessions:
        """The table of calls."""
        ...

    @property
    def plane(self) -> MediaPlane:
        """The media plane."""
        ...

    @property
    def clock(self) -> TickClock:
        """The clock of the ticks."""
        ...

    @property
    def gc_pauses(self) -> GcPauses:
        """The pauses of the garbage collector."""
        ...

    @property
    def writer(self) -> RecordingWriter:
        """The writer of recordings."""
        ...

    @property
    def drain(self) -> Drain:
        """The drain."""
        ...

    @property
    def head_room(self) -> RelayHeadRoom:
        """The judge of room for calls."""
        ...

    @property
    def bridge(self) -> BotStage:
        """The bot streams."""
        ...

    @property
    def events(self) -> EventLog:
        """The media events."""
        ...

    @property
    def tasks(self) -> int:
        """The tasks of the event loop."""
        ...

    @property
    def capacity_units(self) -> int:
        """The cost units that placement may use."""
        ...


Reading = tuple[str, "Callable[[RelayParts], float]"]
GAUGES: Final[dict[str, Reading]] = {
    "calls": ("Calls on this relay", lambda of: len(of.sessions)),
    "calls_held": (
        "Calls whose bot audio is held, since it may not go to the caller's address yet",
        lambda of: of.plane.transmitter.held,
    ),
    "rows": ("Rows of the call arrays in use", lambda of: of.sessions.handles.used),
    "used_units": ("Cost units in use", lambda of: of.sessions.used_units),
    "capacity_units": ("Cost units that the relay can take", lambda of: of.capacity_units),
    "ports_free": ("RTP port pairs that are free", lambda of: of.plane.pool.free),
    "ports_resting": (
        "RTP port pairs that rest until they are silent after their call",
        lambda of: of.plane.pool.resting,
    ),
    "draining": (
        "1 while the relay takes no new calls and gives its own away",
        lambda of: of.head_room.gives_away,
    ),
    "full": (
        "1 while the relay takes no new calls because its CPU is spent; it keeps its own",
        lambda of: bool(of.head_room.full_reason()),
    ),
    "late": (
        "1 while the relay takes no new calls because its audio is late, whatever the CPU says",
        lambda of: of.head_room.is_late,
    ),
    "cpu_cores": ("CPU that the process uses, smoothed over seconds", lambda of: of.head_room.cpu),
    "cpu_limit_cores": (
        "CPU that the relay may use: one core, or less by its container's limit",
        lambda of: of.head_room.limit,
    ),
    "tick_load": ("CPU that the ticks' work takes, as a share of a core", lambda of: of.clock.load),
    "tick_longest_seconds": ("Longest tick since the last scrape", lambda of: of.clock.take_longest_s()),
    "tick_longest_cpu_seconds": (
        "Most CPU that one tick took since the last scrape; other processes took the rest of a long one",
        lambda of: of.clock.take_longest_cpu_s(),
    ),
    "loop_longest_cpu_seconds": (
        "Most CPU that the event loop's other work took between two ticks since the last scrape",
        lambda of: of.clock.take_longest_between_s(),
    ),
    "tick_latest_seconds": (
        "How late the latest tick since the last scrape began",
        lambda of: of.clock.take_latest_s(),
    ),
    "gc_longest_seconds": (
        "CPU of the longest garbage collection since the last scrape; ticks wait for it",
        lambda of: of.gc_pauses.take_longest_s(),
    ),
    "recording_pieces_waiting": (
        "Pieces of a second of audio that wait to be written",
        lambda of: of.writer.waiting,
    ),
    "tasks": ("Tasks of the event loop", lambda of: of.tasks),
}
COUNTERS: Final[dict[str, Reading]] = {
    "ticks_missed": ("Ticks left out because the process was late (overrun)", lambda of: of.clock.missed),
    "ticks_late": (
        "Ticks, missed ones too, whose work was done more than 20 ms after it was due",
        lambda of: of.clock.late,
    ),
    "packets_strange": ("RTP packets from a source other than the caller", lambda of: of.plane.strange),
    "packets_malformed": ("Datagrams that are not RTP", lambda of: of.plane.receiver.malformed),
    "packets_unexpected": (
        "RTP packets of a payload type that was not agreed",
        lambda of: of.plane.receiver.unexpected,
    ),
    "send_errors": ("Packets that the kernel refused to send", lambda of: of.plane.transmitter.send_errors),
    "packets_skipped": ("Packets not sent after stalls", lambda of: of.plane.transmitter.skipped),
    "frames_concealed": (
        "Callers' frames that did not come in time and were concealed",
        lambda of: of.plane.uplink.concealed,
    ),
    "frames_left_out": ("Callers' frames left out after stalls", lambda of: of.plane.uplink.left_out),
    "playout_refused_bytes": (
        "Bytes of bot audio refused because the call's queue was full",
        lambda of: of.plane.playout.refused,
    ),
    "recording_pieces_refused": (
        "Pieces of a second of audio not recorded because the disk is slow",
        lambda of: of.writer.refused,
    ),
    "recordings_failed": ("Recordings that could not be written", lambda of: of.writer.failed),
    "media_events_dropped": (
        "Media events dropped because no edge acknowledged them in time",
        lambda of: of.events.dropped,
    ),
    "moves_requested": ("Requests to edges to move a call to another relay", lambda of: of.drain.requested),
    "bot_audio_dropped": (
        "Audio batches and frames dropped because the bot was slow",
        lambda of: of.bridge.counters.audio_dropped_unacked,
    ),
    "bot_audio_malformed": (
        "Audio batches of bots whose lengths don't add up; they are not played",
        lambda of: of.bridge.counters.audio_malformed,
    ),
    "bot_audio_unknown_handle": (
        "Frames of bots for a call that is not on their stream (any more); they are not played",
        lambda of: of.bridge.counters.audio_unknown_handle,
    ),
    "bot_events_dropped": (
        "Events not sent because the bot does not declare their feature",
        lambda of: of.bridge.counters.events_dropped_undeclared,
    ),
    "bot_frames_replayed": (
        "Callers' frames that bots were told after they had been away",
        lambda of: of.bridge.counters.frames_replayed,
    ),
    "bot_reconnects": (
        "Bot streams that broke and were opened again",
        lambda of: of.bridge.counters.reconnects,
    ),
    "bots_silent": (
        "Calls on which the bot accepted the stream and never answered",
        lambda of: of.bridge.counters.bots_silent,
    ),
    "trunks_opened": ("Trunk streams opened to bots", lambda of: of.bridge.counters.trunks_opened),
    "trunks_stalled": (
        "Trunk streams given up because the bot acknowledged nothing",
        lambda of: of.bridge.counters.trunks_stalled,
    ),
    "stream_calls_opened": (
        "StreamCall streams opened to bots",
        lambda of: of.bridge.counters.stream_calls_opened,
    ),
}


class RelayMetrics(Collector):
    """The gauges and counters `sipgw_relay_*`."""

    def __init__(self, parts: RelayParts | None = None) -> None:
        """Read these parts; without parts, only describe the instruments."""
        self._parts = parts

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without values."""
        for name, (text, _) in GAUGES.items():
            yield GaugeMetricFamily(f"sipgw_relay_{name}", text)
        for name, (text, _) in COUNTERS.items():
            yield CounterMetricFamily(f"sipgw_relay_{name}", text)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their values of now."""
        if self._parts is None:
            yield from self.describe()
            return
        for name, (text, read) in GAUGES.items():
            yield GaugeMetricFamily(f"sipgw_relay_{name}", text, value=float(read(self._parts)))
        for name, (text, read) in COUNTERS.items():
            yield CounterMetricFamily(f"sipgw_relay_{name}", text, value=float(read(self._parts)))


if __name__ == "__main__":
    REGISTRY.register(RelayMetrics())
    sys.stdout.write(reference_table(REGISTRY, "sipgw_relay_"))
