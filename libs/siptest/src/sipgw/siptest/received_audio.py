"""The RTP that a phone received: every packet with its time of arrival, the audio on one axis, the keys."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sipgw.audio import AudioFormat, Codec, SamplesI16, decode
from sipgw.rtp import DigitEnded, DtmfReceiver, RtpPacket, RtpParseError
from sipgw.rtp.reception import Reception
from sipgw.rtp.sequence import timestamp_delta
from sipgw.sdp import NegotiatedMedia
from sipgw.siptest.audio_track import AudioTrack
from sipgw.siptest.rtp_socket import HostPort

_MOST_EARLY = 500


@dataclass(frozen=True, slots=True)
class ReceivedPacket:
    """An RTP packet with its time of arrival."""

    arrived_s: float
    source: HostPort
    packet: RtpPacket


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """Audio as it came, with its place on the track."""

    arrived_s: float
    first_sample: int
    payload: bytes


class ReceivedAudio:
    """The received media; `track` begins with the first audio packet and follows RTP timestamps.

    A lost packet is silence. A new SSRC goes on where its first packet arrived in time.
    """

    def __init__(self) -> None:
        self.packets: list[ReceivedPacket] = []
        self.audio_packets: list[AudioPacket] = []
        self.track = AudioTrack()
        self.digits = ""
        self.strange_packets = 0
        self._media: NegotiatedMedia | None = None
        self._early: list[tuple[bytes, HostPort, float]] = []  # received before the answer that explains them
        self._format = AudioFormat(Codec.PCMU, 8000, 20)
        self._keys = DtmfReceiver()
        self._ssrc: int | None = None
        self._reception = Reception()
        self._lost_before = 0
        self._transit = 0
        self._ssrc_of_track: int | None = None
        self._last_timestamp = 0
        self._sample = 0  # the place of `_last_timestamp` on the track

    def apply(self, media: NegotiatedMedia) -> None:
        """Accept negotiated media."""
        self._media = media
        self._format = AudioFormat(Codec(media.codec), media.clock_rate_hz, media.ptime_ms)
        self.track.rate_hz = media.clock_rate_hz
        early, self._early = self._early, []
        for data, source, arrived_s in early:
            self.receive(data, source, arrived_s)

    def receive(self, data: bytes, source: HostPort, arrived_s: float) -> None:
        """Take a datagram."""
        media = self._media
        if media is None:
            if len(self._early) < _MOST_EARLY:
                self._early.append((data, source, arrived_s))
            return
        try:
            packet = RtpPacket.parse(data)
        except RtpParseError:
            self.strange_packets += 1
            return
        if packet.ssrc != self._ssrc:
            self._switch_source(packet)
        event = media.telephone_event
        if event is not None and packet.payload_type == event.receive_payload_type:
            self._receive_key(packet, arrived_s)
        elif packet.payload_type == media.receive_payload_type:
            self._place(packet, arrived_s)
        else:
            self.strange_packets += 1
            return
        self._count(packet, arrived_s, is_audio=packet.payload_type == media.receive_payload_type)
        self.packets.append(ReceivedPacket(arrived_s, source, packet))

    def pcm(self) -> SamplesI16:
        """Return all of it as samples, gaps as silence."""
        return self.track.samples()

    def payload(self) -> bytes:
        """Return the audio payloads end to end, in the order of their timestamps, without copies."""
        audio = {p.first_sample: p.payload for p in self.audio_packets}
        return b"".join(audio[sample] for sample in sorted(audio))

    @property
    def lost(self) -> int:
        """Lost packets by sequence number (RFC 3550 §A.3), over all sources."""
        return self._lost_before + self._reception.lost

    @property
    def jitter_ms(self) -> float:
        return self._reception.jitter * 1000 / self._format.rate_hz

    @property
    def longest_gap_ms(self) -> float:
        """The longest time between two packets as they arrived."""
        arrivals = [p.arrived_s for p in self.packets]
        return max((b - a for a, b in pairwise(arrivals)), default=0.0) * 1000

    def _switch_source(self, packet: RtpPacket) -> None:
        self._lost_before += self._reception.lost
        self._reception = Reception()
        self._ssrc = packet.ssrc

    def _count(self, packet: RtpPacket, arrived_s: float, *, is_audio: bool) -> None:
        """Count loss by every packet, jitter by audio alone: the timestamp of a key stands still."""
        arrival = round(arrived_s * self._format.rate_hz)
        if is_audio:
            self._transit = arrival - packet.timestamp
        else:
            arrival = packet.timestamp + self._transit
        self._reception.receive(packet.sequence, packet.timestamp, arrival)

    def _place(self, packet: RtpPacket, arrived_s: float) -> None:
        """Put audio on the track's axis."""
        if self._ssrc_of_track != packet.ssrc:
            elapsed_s = arrived_s - self.track.packets[0].at_s if self.track.packets else 0.0
            self._sample = round(elapsed_s * self._format.rate_hz)
            self._ssrc_of_track = packet.ssrc
        else:
            self._sample += timestamp_delta(packet.timestamp, self._last_timestamp)
        self._last_timestamp = packet.timestamp
        samples = decode(self._format, np.frombuffer(packet.payload, dtype=np.uint8))
        self.track.add(arrived_s, self._sample, samples)
        self.audio_packets.append(AudioPacket(arrived_s, self._sample, packet.payload))

    def _receive_key(self, packet: RtpPacket, arrived_s: float) -> None:
        self._keys.receive_packet(
            packet.payload,
            timestamp=packet.timestamp,
            sequence=packet.sequence,
            marker=packet.marker,
            now=arrived_s,
            source=packet.ssrc,
        )
        while (event := self._keys.next_event()) is not None:
            if isinstance(event, DigitEnded):
                self.digits += event.digit
