"""The relay's metrics: of calls at their turns and ends, and of its parts, read when they are scraped: the
tick pays nothing for them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector

# Importing it puts the calls' histograms into the registry, whose table this module prints.
from sipgw.media_relay import instruments  # noqa: F401  # pyright: ignore[reportUnusedImport]
from sipgw.runtime.telemetry.metrics import reference_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from sipgw.media_relay.bots.interface import BotStage
    from sipgw.media_relay.calls.drain import Drain
    from sipgw.media_relay.calls.event_log import EventLog
    from sipgw.media_relay.calls.sessions import Sessions
    from sipgw.media_relay.load.head_room import RelayHeadRoom
    from sipgw.media_relay.load.tick import TickClock
    from sipgw.media_relay.plane.media_plane import MediaPlane
    from sipgw.media_relay.stages.recording_writer import RecordingWriter


class RelayParts(Protocol):
    """What of the relay is read."""

    @property
    def sessions(self) -> Sessions: ...
    @property
    def plane(self) -> MediaPlane: ...
    @property
    def clock(self) -> TickClock: ...
    @property
    def writer(self) -> RecordingWriter: ...
    @property
    def drain(self) -> Drain: ...
    @property
    def head_room(self) -> RelayHeadRoom: ...
    @property
    def bridge(self) -> BotStage: ...
    @property
    def events(self) -> EventLog: ...
    @property
    def capacity_units(self) -> int: ...


Reading = tuple[str, "Callable[[RelayParts], float]"]
GAUGES: Final[dict[str, Reading]] = {
    "calls": ("Calls on this relay", lambda of: len(of.sessions)),
    "calls_held": (
        "Calls whose bot waits: its voice may not go to the caller's address yet",
        lambda of: of.plane.transmitter.held,
    ),
    "used_units": ("Cost units in use", lambda of: of.sessions.used_units),
    "capacity_units": ("Cost units that the relay says it can take", lambda of: of.capacity_units),
    "ports_free": ("RTP port pairs free", lambda of: of.plane.pool.free),
    "ports_resting": ("RTP port pairs not yet silent after their call", lambda of: of.plane.pool.resting),
    "draining": (
        "1 while the relay takes no new calls and gives its own away",
        lambda of: of.head_room.gives_away,
    ),
    "full": (
        "1 while the relay takes no new calls since its CPU is spent; it keeps its own",
        lambda of: bool(of.head_room.full_reason()),
    ),
    "cpu_cores": ("CPU of the process, smoothed over seconds", lambda of: of.head_room.cpu),
    "cpu_limit_cores": (
        "CPU that the relay may use: a core, or its container's limit",
        lambda of: of.head_room.limit,
    ),
    "tick_load": ("CPU that the ticks' work takes, as a share of a core", lambda of: of.clock.load),
    "tick_longest_seconds": ("Longest tick since the last scrape", lambda of: of.clock.take_longest_s()),
}
COUNTERS: Final[dict[str, Reading]] = {
    "ticks_missed": ("Ticks left out because the process was late (overrun)", lambda of: of.clock.missed),
    "packets_strange": ("RTP packets from who is not the caller", lambda of: of.plane.strange),
    "packets_malformed": ("Datagrams that are no RTP", lambda of: of.plane.receiver.malformed),
    "packets_unexpected": (
        "RTP packets of a payload type not agreed",
        lambda of: of.plane.receiver.unexpected,
    ),
    "send_errors": ("Packets that the kernel refused to send", lambda of: of.plane.transmitter.send_errors),
    "packets_skipped": ("Packets not sent after stalls", lambda of: of.plane.transmitter.skipped),
    "frames_concealed": (
        "Frames of callers that did not come in time",
        lambda of: of.plane.uplink.concealed,
    ),
    "frames_left_out": ("Frames of callers left out after stalls", lambda of: of.plane.uplink.left_out),
    "playout_refused_bytes": ("Bot audio beyond a call's limit", lambda of: of.plane.playout.refused),
    "recording_pieces_refused": (
        "Half seconds not recorded: the disk is slow",
        lambda of: of.writer.refused,
    ),
    "recordings_failed": ("Recordings that could not be written", lambda of: of.writer.failed),
    "media_events_dropped": (
        "Events of calls that no edge acknowledged in time",
        lambda of: of.events.dropped,
    ),
    "moves_requested": ("Calls that edges were asked to move elsewhere", lambda of: of.drain.requested),
    "bot_audio_dropped": (
        "Batches and frames that a slow bot did not get",
        lambda of: of.bridge.counters.audio_dropped_unacked,
    ),
    "bot_audio_malformed": (
        "Batches of bots whose lengths don't add up: not played",
        lambda of: of.bridge.counters.audio_malformed,
    ),
    "bot_audio_unknown_handle": (
        "Frames of bots for a call that is not, or no longer, on their stream: not played",
        lambda of: of.bridge.counters.audio_unknown_handle,
    ),
    "bot_events_dropped": (
        "Events that a bot without their feature did not get",
        lambda of: of.bridge.counters.events_dropped_undeclared,
    ),
    "bot_reconnects": (
        "Attaches to a bot that broke and were begun anew",
        lambda of: of.bridge.counters.reconnects,
    ),
    "bots_silent": (
        "Calls on which the bot never said anything",
        lambda of: of.bridge.counters.bots_silent,
    ),
    "trunks_opened": ("Trunk streams to bots", lambda of: of.bridge.counters.trunks_opened),
    "trunks_stalled": (
        "Trunk streams given up because nothing moved",
        lambda of: of.bridge.counters.trunks_stalled,
    ),
    "stream_calls_opened": ("StreamCall streams to bots", lambda of: of.bridge.counters.stream_calls_opened),
}


class RelayMetrics(Collector):
    """Instruments `sipgw_relay_*` of the relay's parts."""

    def __init__(self, parts: RelayParts | None = None) -> None:
        """Without parts it only describes."""
        self._parts = parts

    def describe(self) -> Iterator[Metric]:
        for name, (text, _) in GAUGES.items():
            yield GaugeMetricFamily(f"sipgw_relay_{name}", text)
        for name, (text, _) in COUNTERS.items():
            yield CounterMetricFamily(f"sipgw_relay_{name}", text)

    def collect(self) -> Iterator[Metric]:
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
