"""MediaParameters: the media agreed for one call."""

from dataclasses import dataclass

from sipgw.audio import AudioFormat
from sipgw.rtp.media_destination import DestinationRules
from sipgw.rtp.source_latch import LatchRules, Source, SymmetricMode


@dataclass(frozen=True, slots=True)
class EventFormat:
    """The agreed telephone events (RFC 4733)."""

    send_payload_type: int
    receive_payload_type: int
    clock_rate_hz: int


@dataclass(frozen=True, slots=True)
class MediaPeer:
    """The sources accepted as the caller, where media may go, and whether the caller has our last answer."""

    latch: LatchRules
    destination: DestinationRules
    is_acknowledged: bool


@dataclass(frozen=True, slots=True)
class MediaParameters:
    """The agreed media. `wire` is the format that is sent; its frame is the packet time."""

    remote: Source | None
    remote_rtcp: Source | None
    wire: AudioFormat
    send_payload_type: int
    receive_payload_type: int
    events: EventFormat | None
    is_sending: bool
    is_receiving: bool
    is_muxed: bool
    peer: MediaPeer

    @property
    def is_symmetric(self) -> bool:
        """Whether the caller may be latched to its source addresses."""
        return self.peer.latch.mode is not SymmetricMode.OFF
