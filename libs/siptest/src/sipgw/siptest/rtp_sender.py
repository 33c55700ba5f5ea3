"""Send the phone's audio: one packet per ptime on an absolute clock, independent of the rest.

Queued speech is sent first, then silence; telephone events (RFC 4733) replace audio while a key is pressed.
On hold nothing is sent and the timestamps go on.
"""

import asyncio
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from sipgw.audio import AudioFormat, Codec, SamplesI16, decode, encode
from sipgw.rtp import DtmfSender, RtpPacket
from sipgw.sdp import NegotiatedMedia
from sipgw.siptest.audio_track import AudioTrack

_LATEST_S = 1.0  # a clock further behind than this does not catch up


class RtpSender:
    """`start` it with negotiated media, again after a re-INVITE.

    `on_change` is called when a queue is empty.
    """

    def __init__(self, sock: socket.socket, on_change: Callable[[], None]) -> None:
        self.track = AudioTrack()
        self.packets_sent = 0
        self.worst_lateness_s = 0.0
        self.digits_sent = ""
        self._socket = sock
        self._on_change = on_change
        self._media: NegotiatedMedia | None = None
        self._format = AudioFormat(Codec.PCMU, 8000, 20)
        self._waiting: deque[SamplesI16 | bytes] = deque()
        self._speech = bytearray()
        self._keys: deque[tuple[str, DtmfSender]] = deque()
        self._sample = 0  # where on the track the next frame begins
        self._timestamp_base = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._ssrc = secrets.randbits(32)
        self._is_first = True
        self._next_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        return self._timer is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued, so that silence is sent."""
        return not (self._speech or self._waiting or self._keys)

    @property
    def has_sent_digits(self) -> bool:
        return not self._keys

    def start(self, media: NegotiatedMedia) -> None:
        """Begin to send, or go on with other media."""
        self._media = media
        self._format = AudioFormat(Codec(media.codec), media.clock_rate_hz, media.ptime_ms)
        self.track.rate_hz = media.clock_rate_hz
        while self._waiting:
            self._speech += self._encode(self._waiting.popleft())
        if self._timer is None:
            self._next_s = time.monotonic()
            self._tick()

    def stop(self) -> None:
        """Stop sending."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def play(self, audio: SamplesI16 | bytes) -> int:
        """Queue samples, or payload bytes to send as they are; return the track's sample where they begin."""
        queued = len(self._speech) + sum(map(len, self._waiting))
        if self._media is None:
            self._waiting.append(audio)
        else:
            self._speech += self._encode(audio)
        return self._sample + queued

    def send_digits(self, digits: str, *, duration_ms: int, gap_ms: int) -> None:
        """Press keys, one after the other, in place of audio. Raises ValueError for another character."""
        keys = DtmfSender(
            digits,
            clock_rate_hz=self._format.rate_hz,
            tone_ms=duration_ms,
            gap_ms=gap_ms,
            packet_ms=self._format.frame_ms,
        )
        self._keys.append((digits, keys))

    def _encode(self, audio: SamplesI16 | bytes) -> bytes:
        return audio if isinstance(audio, bytes) else encode(self._format, audio).tobytes()

    def _tick(self) -> None:
        period_s = self._format.frame_ms / 1000
        now = time.monotonic()
        if now - self._next_s > _LATEST_S:
            self._next_s = now
        while self._next_s <= now:
            self.worst_lateness_s = max(self.worst_lateness_s, now - self._next_s)
            self._send_frame()
            self._next_s += period_s
        self._timer = asyncio.get_running_loop().call_later(self._next_s - now, self._tick)

    def _send_frame(self) -> None:
        media = self._media
        assert media is not None
        was_busy = not self.is_idle or bool(self._keys)
        if media.direction.sends and media.remote_address and not self._send_key(media):
            self._send_audio(media)
        self._sample += self._format.frame_samples
        if was_busy and (self.is_idle or not self._keys):
            self._on_change()

    def _send_key(self, media: NegotiatedMedia) -> bool:
        """Send the packet of a key that is down; return False when this period carries audio."""
        if not self._keys or media.telephone_event is None:
            return False
        digits, keys = self._keys[0]
        packet = keys.next_packet(self._sample)
        if keys.is_finished:
            self._keys.popleft()
            self.digits_sent += digits
        if packet is None:
            return False
        payload_type = media.telephone_event.send_payload_type
        self._send(media, payload_type, packet.timestamp, packet.payload, marker=packet.marker)
        return True

    def _send_audio(self, media: NegotiatedMedia) -> None:
        size = self._format.frame_bytes
        payload = bytes(self._speech[:size])
        del self._speech[:size]
        payload += bytes([self._format.silence]) * (size - len(payload))
        at_s = self._send(media, media.send_payload_type, self._sample, payload, marker=self._is_first)
        self._is_first = False
        samples = decode(self._format, np.frombuffer(payload, dtype=np.uint8))
        self.track.add(at_s, self._sample, samples)

    def _send(
        self, media: NegotiatedMedia, payload_type: int, sample: int, payload: bytes, *, marker: bool
    ) -> float:
        packet = RtpPacket(
            payload_type=payload_type,
            sequence=self._sequence,
            timestamp=(self._timestamp_base + sample) & 0xFFFFFFFF,
            ssrc=self._ssrc,
            marker=marker,
            payload=payload,
        )
        self._sequence = (self._sequence + 1) & 0xFFFF
        data = packet.to_bytes()
        at_s = time.monotonic()
        try:
            self._socket.sendto(data, (media.remote_address, media.remote_rtp_port))
        except OSError:
            return at_s  # an ICMP error of an earlier packet, or a full queue: lost, as on any network
        self.packets_sent += 1
        return at_s
