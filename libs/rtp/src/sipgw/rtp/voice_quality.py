"""The estimated quality of a call: the E-model (ITU-T G.107) reduced to loss and delay of G.711.

Loss is taken as random, no echo and no noise are assumed, and the path beyond the last RTP hop is unknown.
The estimate tells bad calls from good ones; it does not rank good ones.
"""

import math
from typing import Final

R_BEST: Final = 93.2  # G.107 with all its defaults
G711_LOSS_ROBUSTNESS: Final = (
    4.3  # Bpl of G.711 without concealment (G.113 appendix I): gaps are silence here
)
_MOST_IMPAIRMENT: Final = 95.0
_LONG_DELAY_MS: Final = 177.3
MOS_BEST: Final = 4.5


def mouth_to_ear_ms(round_trip_ms: float, jitter_ms: float, packet_ms: float) -> float:
    """Return half the round trip, a packet's length, and the delay of a jitter buffer that suits the jitter.

    An unknown round trip (NaN) counts as none.
    """
    network_ms = 0.0 if math.isnan(round_trip_ms) else round_trip_ms / 2
    return network_ms + packet_ms + 2 * jitter_ms


def mean_opinion_score(loss_ratio: float, delay_ms: float) -> float:
    """Return 1 (bad) to 4.5, from the share of packets lost (0 to 1) and the one-way delay."""
    loss_percent = min(max(loss_ratio, 0.0), 1.0) * 100
    by_loss = _MOST_IMPAIRMENT * loss_percent / (loss_percent + G711_LOSS_ROBUSTNESS)
    by_delay = 0.024 * delay_ms + 0.11 * max(delay_ms - _LONG_DELAY_MS, 0.0)
    return _score(R_BEST - by_delay - by_loss)


def _score(rating: float) -> float:
    """Convert R to a score (G.107 annex B)."""
    if rating <= 0:
        return 1.0
    score = 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6
    return min(max(score, 1.0), MOS_BEST)  # the curve falls slightly below 1 at its lower end
