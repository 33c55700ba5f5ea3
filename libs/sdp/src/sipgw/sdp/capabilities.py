"""Capabilities of our side: codecs with their payload types, telephone events, packet time."""

from dataclasses import dataclass

TELEPHONE_EVENT = "telephone-event"


@dataclass(frozen=True, slots=True)
class CodecCapability:
    """A codec that we support, and its payload type in our offers."""

    name: str
    clock_rate_hz: int
    payload_type: int


PCMU = CodecCapability("PCMU", 8000, 0)
PCMA = CodecCapability("PCMA", 8000, 8)


@dataclass(frozen=True, slots=True)
class MediaCapabilities:
    """The codecs that our side supports, best first."""

    codecs: tuple[CodecCapability, ...] = (PCMU, PCMA)
    telephone_event: bool = True
    ptime_ms: int = 20
    telephone_event_payload_type: int = 101
    rtcp_mux: bool = False
