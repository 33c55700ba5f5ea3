"""The relay's metrics, read from its parts when they are scraped: the tick pays nothing for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from sipgw.media_relay.drain import Drain
    from sipgw.media_relay.media_plane import MediaPlane
    from sipgw.media_relay.recording_writer import RecordingWriter
    from sipgw.media_relay.sessions import Sessions
    from sipgw.media_relay.tick import TickClock


class RelayMetrics(Collector):
    """Instruments `sipgw_relay_*`."""

    def __init__(
        self,
        sessions: Sessions,
        plane: MediaPlane,
        clock: TickClock,
        writer: RecordingWriter,
        drain: Drain,
    ) -> None:
        self._sessions = sessions
        self._plane = plane
        self._clock = clock
        self._writer = writer
        self._drain = drain

    def collect(self) -> Iterator[Metric]:
        plane, clock = self._plane, self._clock
        gauges = {
            "calls": ("Calls on this relay", len(self._sessions)),
            "used_units": ("Cost units in use", self._sessions.used_units),
            "ports_free": ("RTP port pairs free", plane.pool.free),
            "ports_resting": ("RTP port pairs not yet silent after their call", plane.pool.resting),
            "tick_load": ("Share of the tick's time that its work takes", clock.load),
            "tick_longest_seconds": ("Longest tick since the last scrape", clock.take_longest_s()),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"sipgw_relay_{name}", text, value=value)
        counters = {
            "ticks_missed": ("Ticks left out because the process was late (overrun)", clock.missed),
            "packets_strange": ("RTP packets from who is not the caller", plane.strange),
            "packets_malformed": ("Datagrams that are no RTP", plane.receiver.malformed),
            "packets_unexpected": ("RTP packets of a payload type not agreed", plane.receiver.unexpected),
            "send_errors": ("Packets that the kernel refused to send", plane.transmitter.send_errors),
            "packets_skipped": ("Packets not sent after stalls", plane.transmitter.skipped),
            "frames_concealed": ("Frames of callers that did not come in time", plane.uplink.concealed),
            "frames_left_out": ("Frames of callers left out after stalls", plane.uplink.left_out),
            "playout_refused_bytes": ("Bot audio beyond a call's limit", plane.playout.refused),
            "recording_pieces_refused": ("Half seconds not recorded: the disk is slow", self._writer.refused),
            "moves_requested": ("Calls that edges were asked to move elsewhere", self._drain.requested),
            "recordings_failed": ("Recordings that could not be written", self._writer.failed),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"sipgw_relay_{name}", text, value=value)
