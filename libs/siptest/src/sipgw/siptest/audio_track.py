"""Audio with the time at which each of its packets was sent or arrived."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np

from sipgw.audio import SamplesI16


@dataclass(frozen=True, slots=True)
class TrackPacket:
    """The audio of one packet: `at_s` on the monotonic clock, `first_sample` on the track's own axis."""

    at_s: float
    first_sample: int
    samples: SamplesI16


@dataclass(slots=True)
class AudioTrack:
    """One direction of a call. Packets may come in any order; gaps are silence."""

    rate_hz: int = 8000
    packets: list[TrackPacket] = field(default_factory=list[TrackPacket])

    def add(self, at_s: float, first_sample: int, samples: SamplesI16) -> None:
        """Add a packet's audio."""
        self.packets.append(TrackPacket(at_s, first_sample, samples))

    @property
    def length_samples(self) -> int:
        return max((p.first_sample + len(p.samples) for p in self.packets), default=0)

    def samples(self) -> SamplesI16:
        """Return the whole track from sample 0, gaps as zeros."""
        out = np.zeros(self.length_samples, dtype=np.int16)
        for packet in self.packets:
            start = max(0, packet.first_sample)
            out[start : packet.first_sample + len(packet.samples)] = packet.samples[
                start - packet.first_sample :
            ]
        return out

    def in_order(self) -> "TrackOrder":
        """Return a view that finds the packet of a sample."""
        return TrackOrder(self)


class TrackOrder:
    """The packets of a track by position, made once for many queries."""

    def __init__(self, track: AudioTrack) -> None:
        self.packets = sorted(track.packets, key=lambda p: p.first_sample)
        self._starts = [p.first_sample for p in self.packets]
        self._at_s = np.array([p.at_s for p in self.packets])

    def within(self, first: int, end: int) -> list[TrackPacket]:
        """Return the packets whose samples all lie from `first` to before `end`."""
        begun = self.packets[bisect_left(self._starts, first) : bisect_left(self._starts, end)]
        return [p for p in begun if p.first_sample + len(p.samples) <= end]

    def between(self, from_s: float, to_s: float) -> list[TrackPacket]:
        """Return the packets of a time span, by position."""
        inside = np.flatnonzero((self._at_s >= from_s) & (self._at_s <= to_s))
        return [self.packets[index] for index in inside.tolist()]

    def packet_of(self, sample: int) -> TrackPacket | None:
        """Return the packet that carried `sample`; None for a gap."""
        index = bisect_right(self._starts, sample) - 1
        if index < 0:
            return None
        packet = self.packets[index]
        return packet if sample < packet.first_sample + len(packet.samples) else None
