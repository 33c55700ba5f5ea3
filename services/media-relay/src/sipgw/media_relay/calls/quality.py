"""Report to the metrics, at a call's end, how it sounded in both directions by RTP and RTCP."""

import math
from typing import Final

from sipgw.media_relay import instruments
from sipgw.media_relay.plane.media_plane import MediaPlane
from sipgw.rtp.voice_quality import mean_opinion_score, mouth_to_ear_ms
from sipgw.runtime.telemetry.metrics import observe
from sipgw.runtime.telemetry.traces import TraceIds

LEAST_PACKETS: Final = 100
"""Two seconds of packets. From fewer, a share of lost packets says nothing."""
_CLOCK_KHZ: Final = 8


def observe_quality(plane: MediaPlane, row: int, trace: TraceIds | None) -> None:
    """Report the quality once a call, before its row is closed.

    What the caller hears is known only if the caller sends RTCP.
    """
    heard, reports = plane.receiver.totals(row), plane.reports
    round_trip_ms = float(reports.round_trip_ms[row])
    packet_ms = plane.media_of(row).wire.frame_ms
    if not math.isnan(round_trip_ms):
        observe(instruments.ROUND_TRIP, round_trip_ms / 1000, trace)
    lost_ratio = heard.lost / max(heard.received + heard.lost, 1)
    if heard.received + heard.lost >= LEAST_PACKETS:
        _observe("from_caller", lost_ratio, heard.jitter_ms, round_trip_ms, packet_ms, trace)
    sent, jitter = int(plane.transmitter.sent[row]), float(reports.jitter_by_caller[row])
    if sent >= LEAST_PACKETS and not math.isnan(jitter):
        lost_ratio = min(max(int(reports.lost_by_caller[row]), 0) / sent, 1.0)
        _observe("to_caller", lost_ratio, jitter / _CLOCK_KHZ, round_trip_ms, packet_ms, trace)


def _observe(
    direction: str,
    lost_ratio: float,
    jitter_ms: float,
    round_trip_ms: float,
    packet_ms: float,
    trace: TraceIds | None,
) -> None:
    delay_ms = mouth_to_ear_ms(round_trip_ms, jitter_ms, packet_ms)
    observe(instruments.MOS.labels(direction), mean_opinion_score(lost_ratio, delay_ms), trace)
    observe(instruments.LOSS.labels(direction), lost_ratio, trace)
    observe(instruments.JITTER.labels(direction), jitter_ms / 1000, trace)
