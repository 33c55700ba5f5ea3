"""MediaParameters: what was agreed about one call's media."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipgw.rtp.source_latch import SymmetricMode

if TYPE_CHECKING:
    from sipgw.audio import AudioFormat
    from sipgw.rtp.media_destination import DestinationRules
    from sipgw.rtp.source_latch import LatchRules, Source


@dataclass(frozen=True, slots=True)
class EventFormat:
    """What was agreed about telephone events (RFC 4733)."""

    send_payload_type: int
    receive_payload_type: int
    clock_rate_hz: int


@dataclass(frozen=True, slots=True)
class MediaPeer:
    """Whose packets are the caller's, where media may go, and whether the caller has our last answer."""

    latch: LatchRules
    destination: DestinationRules
    is_acknowledged: bool


@dataclass(frozen=True, slots=True)
class MediaParameters:
    """One call's media as agreed. `wire` is the format of what we send; its frame is the packet time."""

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
        return self.peer.latch.mode is not SymmetricMode.OFF
