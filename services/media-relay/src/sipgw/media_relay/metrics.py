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
        "Calls whose bot audio is held back until it may be sent to the caller's address",
        lambda of: of.plane.transmitter.held,
    ),
    "rows": (
        "Rows in use of the arrays that hold calls, one row a call",
        lambda of: of.sessions.handles.used,
    ),
    "used_units": ("Cost units in use", lambda of: of.sessions.used_units),
    "capacity_units": ("Cost units that the relay can carry in all", lambda of: of.capacity_units),
    "ports_free": ("RTP port pairs that are free", lambda of: of.plane.pool.free),
    "ports_resting": (
        "RTP port pairs not used again yet because packets of their last call may still arrive",
        lambda of: of.plane.pool.resting,
    ),
    "draining": (
        "1 while the relay takes no new calls and has its own moved to other relays, else 0",
        lambda of: of.head_room.gives_away,
    ),
    "full": (
        "1 while the relay takes no new calls because its CPU is used up, else 0; it keeps its calls",
        lambda of: bool(of.head_room.full_reason()),
    ),
    "late": (
        "1 while the relay takes no new calls because its ticks run late, else 0; it keeps its calls",
        lambda of: of.head_room.is_late,
    ),
    "cpu_cores": ("CPU cores that the process uses, averaged over some seconds", lambda of: of.head_room.cpu),
    "cpu_limit_cores": (
        "CPU cores that the relay may use: one, or less if its container has a lower limit",
        lambda of: of.head_room.limit,
    ),
    "tick_load": ("CPU that ticks use, as a share of one core, 0 to 1", lambda of: of.clock.load),
    "tick_longest_seconds": (
        "Longest duration of a tick in seconds since the last scrape, time off the CPU included",
        lambda of: of.clock.take_longest_s(),
    ),
    "tick_longest_cpu_seconds": (
        "Most CPU seconds that one tick used since the last scrape",
        lambda of: of.clock.take_longest_cpu_s(),
    ),
    "loop_longest_cpu_seconds": (
        "Most CPU seconds that other work took between two ticks since the last scrape",
        lambda of: of.clock.take_longest_between_s(),
    ),
    "tick_latest_seconds": (
        "Longest delay in seconds of a tick's beginning since the last scrape",
        lambda of: of.clock.take_latest_s(),
    ),
    "gc_longest_seconds": (
        "CPU seconds of the longest garbage collection, which delays ticks, since the last scrape",
        lambda of: of.gc_pauses.take_longest_s(),
    ),
    "recording_pieces_waiting": (
        "Pieces of recordings (one second of a call each) that wait to be written",
        lambda of: of.writer.waiting,
    ),
    "tasks": ("asyncio tasks that exist now", lambda of: of.tasks),
}
COUNTERS: Final[dict[str, Reading]] = {
    "ticks_missed": (
        "Ticks that never ran because the process was late (overrun)",
        lambda of: of.clock.missed,
    ),
    "ticks_late": (
        "Ticks whose work was done more than 20 ms after it was due, missed ticks included",
        lambda of: of.clock.late,
    ),
    "packets_strange": ("RTP packets from a source other than the caller", lambda of: of.plane.strange),
    "packets_malformed": (
        "Datagrams received on RTP ports that are not RTP",
        lambda of: of.plane.receiver.malformed,
    ),
    "packets_unexpected": (
        "RTP packets received with a payload type that was not negotiated",
        lambda of: of.plane.receiver.unexpected,
    ),
    "send_errors": (
        "RTP packets that the operating system's kernel refused to send",
        lambda of: of.plane.transmitter.send_errors,
    ),
    "packets_skipped": (
        "RTP packets not sent to callers because the relay had stalled and they were too old",
        lambda of: of.plane.transmitter.skipped,
    ),
    "frames_concealed": (
        "Frames of callers' audio that were concealed because they did not come in time",
        lambda of: of.plane.uplink.concealed,
    ),
    "frames_left_out": (
        "Frames of callers' audio not passed on because the relay had stalled and they were too old",
        lambda of: of.plane.uplink.left_out,
    ),
    "playout_refused_bytes": (
        "Bytes of bot audio refused because the call's queue was full",
        lambda of: of.plane.playout.refused,
    ),
    "recording_pieces_refused": (
        "Pieces of recordings (one second of a call each) not written because the disk was too slow",
        lambda of: of.writer.refused,
    ),
    "recordings_failed": ("Recordings that could not be written", lambda of: of.writer.failed),
    "media_events_dropped": (
        "Media events for edges dropped because no edge acknowledged them in time",
        lambda of: of.events.dropped,
    ),
    "moves_requested": (
        "Requests sent to edges to move a call to another relay",
        lambda of: of.drain.requested,
    ),
    "bot_audio_dropped": (
        "Batches and frames of callers' audio dropped because the bot received them too slowly",
        lambda of: of.bridge.counters.audio_dropped_unacked,
    ),
    "bot_audio_malformed": (
        "Audio batches from bots that were not played because their lengths don't add up",
        lambda of: of.bridge.counters.audio_malformed,
    ),
    "bot_audio_unknown_handle": (
        "Audio frames from bots that were not played because the call is not on the bot's stream",
        lambda of: of.bridge.counters.audio_unknown_handle,
    ),
    "bot_events_dropped": (
        "Events not sent to bots because the bot does not declare the feature they belong to",
        lambda of: of.bridge.counters.events_dropped_undeclared,
    ),
    "bot_frames_replayed": (
        "Frames of callers' audio sent to a bot after it had reconnected, since it had missed them",
        lambda of: of.bridge.counters.frames_replayed,
    ),
    "bot_reconnects": (
        "Bot streams that were opened again after they broke",
        lambda of: of.bridge.counters.reconnects,
    ),
    "bots_silent": (
        "Calls whose bot accepted the stream and then sent nothing",
        lambda of: of.bridge.counters.bots_silent,
    ),
    "trunks_opened": ("Trunk streams opened to bots", lambda of: of.bridge.counters.trunks_opened),
    "trunks_stalled": (
        "Trunk streams that were closed because the bot acknowledged nothing",
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
