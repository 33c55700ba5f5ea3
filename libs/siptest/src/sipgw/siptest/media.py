"""The media of one call: two sockets, the audio sent, the audio received."""

import time
from collections.abc import Callable
from pathlib import Path

from sipgw.audio import SamplesI16
from sipgw.rtp.rtcp import ReceiverReport, ReportBlock, SenderReport, parse_rtcp
from sipgw.sdp import NegotiatedMedia
from sipgw.siptest.audio_file import read_speech
from sipgw.siptest.audio_track import AudioTrack
from sipgw.siptest.received_audio import ReceivedAudio
from sipgw.siptest.rtp_sender import RtpSender
from sipgw.siptest.rtp_socket import DatagramReader, HostPort, bind_port_pair

OnChange = Callable[[], None]
# Samples at 8 kHz, payload bytes to be sent as they are, or a WAV file.
Audio = SamplesI16 | bytes | Path


def _nobody() -> None:
    pass


class PhoneMedia:
    """The media of a call. Sockets are bound at once; nothing is sent before `apply`."""

    def __init__(self, address: str) -> None:
        self.received = ReceivedAudio()
        self.reports: list[ReportBlock] = []  # the peer's reports about us
        self.on_change: OnChange = _nobody
        self._rtp, self._rtcp = bind_port_pair(address)
        self.rtp_port: int = self._rtp.getsockname()[1]
        self._sender = RtpSender(self._rtp, self._changed)
        self._readers = [DatagramReader(self._rtp, self._on_rtp), DatagramReader(self._rtcp, self._on_rtcp)]
        self.current: NegotiatedMedia | None = None
        self.started_s: float | None = None

    @property
    def sent_track(self) -> AudioTrack:
        return self._sender.track

    @property
    def sender(self) -> RtpSender:
        return self._sender

    @property
    def is_idle(self) -> bool:
        return self._sender.is_idle

    @property
    def has_sent_digits(self) -> bool:
        return self._sender.has_sent_digits

    def apply(self, media: NegotiatedMedia) -> None:
        """Apply negotiated media; the first time, sending begins."""
        self.current = media
        self.received.apply(media)
        if self.started_s is None:
            self.started_s = time.monotonic()
        self._sender.start(media)

    def play(self, audio: Audio) -> int:
        """Queue audio; return the sample of the sent track where it begins."""
        return self._sender.play(read_speech(audio) if isinstance(audio, Path) else audio)

    def send_digits(self, digits: str, *, duration_ms: int, gap_ms: int) -> None:
        """Queue key presses."""
        self._sender.send_digits(digits, duration_ms=duration_ms, gap_ms=gap_ms)

    def stop_sending(self) -> None:
        """Stop sending RTP."""
        self._sender.stop()

    def close(self) -> None:
        """Stop sending and close the sockets."""
        self._sender.stop()
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    def _changed(self) -> None:
        self.on_change()

    def _on_rtp(self, data: bytes, source: HostPort, arrived_s: float) -> None:
        self.received.receive(data, source, arrived_s)
        self.on_change()

    def _on_rtcp(self, data: bytes, _source: HostPort, _arrived_s: float) -> None:
        for packet in parse_rtcp(data):
            if isinstance(packet, SenderReport | ReceiverReport):
                self.reports += packet.reports
