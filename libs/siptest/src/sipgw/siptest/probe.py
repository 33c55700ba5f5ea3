"""Find known audio in received audio, and measure its latency.

Positions come from normalised cross-correlation; times come from the packets. A latency is thus what a person
with a packet capture would measure: the arrival of the packet that brought a sample minus the sending of the
packet that carried it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sipgw.audio import SamplesI16
from sipgw.siptest.audio_track import AudioTrack, TrackOrder

_LEAST_RMS = 150.0  # windows quieter than this (-46 dBFS) can't be located


@dataclass(frozen=True, slots=True)
class Match:
    """The place of a signal; `score` is the correlation, 1.0 for an exact copy at any gain."""

    offset: int
    score: float


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Latencies in milliseconds. `found` of `expected` pieces came back."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    found: int
    expected: int


@dataclass(frozen=True, slots=True)
class EchoLatency:
    """The latency of one piece of sent audio; `at_s` is the time of sending."""

    at_s: float
    latency_s: float | None


def find_signal(haystack: SamplesI16, needle: SamplesI16, *, threshold: float = 0.7) -> Match | None:
    """Return the best place of `needle` in `haystack`; None when nothing is similar enough."""
    count = len(needle)
    if count == 0 or len(haystack) < count:
        return None
    wanted = needle.astype(np.float64)
    wanted -= wanted.mean()
    norm = float(np.sqrt(np.sum(wanted**2)))
    if norm == 0.0:
        return None
    heard = haystack.astype(np.float64)
    scores = _correlate(heard, wanted) / (norm * np.maximum(_window_norms(heard, count), 1.0))
    best = int(np.argmax(scores))
    score = float(scores[best])
    return Match(best, score) if score >= threshold else None


def _correlate(heard: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    size = 1 << (len(heard) + len(wanted) - 1).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    return np.fft.irfft(spectrum, size)[: len(heard) - len(wanted) + 1]


def _window_norms(heard: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the root of the energy (mean removed) of every window of `count` samples."""
    sums = np.concatenate(([0.0], np.cumsum(heard)))
    squares = np.concatenate(([0.0], np.cumsum(heard**2)))
    total = sums[count:] - sums[:-count]
    energy = squares[count:] - squares[:-count] - total**2 / count
    return np.sqrt(np.maximum(energy, 0.0))


def echo_latencies(
    sent: AudioTrack, received: AudioTrack, *, window_ms: int = 240, longest_s: float = 2.0
) -> list[EchoLatency]:
    """Return how late each sent packet of speech came back; silent packets are left out.

    A window of speech is searched for among the audio that arrived up to `longest_s` after it was sent. Each
    packet in it gets a result: None when the window is not found or the packet was not received.
    """
    rate = sent.rate_hz
    sent_samples, heard = sent.samples(), received.samples()
    order, heard_order = sent.in_order(), received.in_order()
    window = rate * window_ms // 1000
    results: list[EchoLatency] = []
    for start in range(0, len(sent_samples) - window + 1, window):
        needle = sent_samples[start : start + window]
        if _rms(needle) < _LEAST_RMS:
            continue
        packets = order.within(start, start + window)
        if not packets:
            continue
        # The window may begin in a pause, before its first packet.
        began_s = packets[0].at_s - (packets[0].first_sample - start) / rate
        low, high = _span_in(heard_order, began_s, packets[-1].at_s + longest_s)
        match = find_signal(heard[low:high], needle)
        for packet in packets:
            last = packet.first_sample + len(packet.samples) - 1 - start
            back = None if match is None else heard_order.packet_of(low + match.offset + last)
            results.append(EchoLatency(packet.at_s, None if back is None else back.at_s - packet.at_s))
    return results


def _span_in(order: TrackOrder, from_s: float, to_s: float) -> tuple[int, int]:
    """Return the stretch of a track that arrived in a time span, as sample positions."""
    inside = order.between(from_s, to_s)
    if not inside:
        return 0, 0
    return inside[0].first_sample, max(p.first_sample + len(p.samples) for p in inside)


def _rms(samples: SamplesI16) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def summarise(latencies: list[EchoLatency]) -> LatencySummary | None:
    """Return p50, p99 and maximum of the latencies found; None when nothing was found."""
    back = np.array([e.latency_s for e in latencies if e.latency_s is not None]) * 1000.0
    if len(back) == 0:
        return None
    p50, p99 = np.percentile(back, [50, 99])
    return LatencySummary(float(p50), float(p99), float(back.max()), len(back), len(latencies))


class ProbeSignal:
    """Audio with distinguishable markers: bursts of telephone-band noise, one seed each."""

    def __init__(
        self, count: int, *, every_ms: int = 500, marker_ms: int = 60, rate_hz: int = 8000, seed: int = 0
    ) -> None:
        self.rate_hz = rate_hz
        self._every = rate_hz * every_ms // 1000
        length = rate_hz * marker_ms // 1000
        self.markers: list[SamplesI16] = [
            _noise_burst(length, seed * 10_007 + i, rate_hz) for i in range(count)
        ]
        self.positions: list[int] = [self._every // 4 + i * self._every for i in range(count)]

    def pcm(self) -> SamplesI16:
        """Return the samples."""
        out = np.zeros(self._every * len(self.markers), dtype=np.int16)
        for position, marker in zip(self.positions, self.markers, strict=True):
            out[position : position + len(marker)] = marker
        return out

    def latencies(self, sent: AudioTrack, received: AudioTrack, *, starts_at: int = 0) -> list[EchoLatency]:
        """Return the latency of each marker. `starts_at`: where on the sent track this signal begins."""
        heard = received.samples()
        order, heard_order = sent.in_order(), received.in_order()
        results: list[EchoLatency] = []
        for position, marker in zip(self.positions, self.markers, strict=True):
            last = starts_at + position + len(marker) - 1
            packet = order.packet_of(last)
            if packet is None:
                continue
            match = find_signal(heard, marker)
            back = None if match is None else heard_order.packet_of(match.offset + len(marker) - 1)
            results.append(EchoLatency(packet.at_s, None if back is None else back.at_s - packet.at_s))
        return results


def _noise_burst(length: int, seed: int, rate_hz: int) -> SamplesI16:
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(length))
    frequencies = np.fft.rfftfreq(length, 1 / rate_hz)
    spectrum[(frequencies < 300) | (frequencies > 3300)] = 0.0
    noise = np.fft.irfft(spectrum, length)
    loudest = float(np.abs(noise).max())
    return np.round(noise * (14000 / loudest)).astype(np.int16)
