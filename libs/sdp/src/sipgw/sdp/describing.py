"""Our end of a stream as a description states it, in answers and offers."""

from collections.abc import Iterable
from dataclasses import dataclass

from sipgw.sdp.attributes import Attribute, Direction, RtpMap
from sipgw.sdp.session import MediaDescription, Origin, SessionDescription, address_type_of

_EVENTS = "0-15"  # the sixteen keys


@dataclass(frozen=True, slots=True)
class LocalEnd:
    """Address and ports of our end; without ``rtcp_port`` RTCP uses RTP's port + 1."""

    address: str
    rtp_port: int
    session_id: int
    session_version: int
    rtcp_port: int | None = None

    @property
    def origin(self) -> Origin:
        return Origin(
            "-", str(self.session_id), str(self.session_version), self.address, address_type_of(self.address)
        )


def describe_audio(
    local: LocalEnd,
    protocol: str,
    codecs: Iterable[RtpMap],
    event: RtpMap | None,
    ptime_ms: int,
    direction: Direction,
    *,
    mux: bool,
) -> MediaDescription:
    """Make the description of our audio stream with these formats."""
    formats = [*codecs, event] if event else [*codecs]
    lines = [rtpmap.attribute for rtpmap in formats]
    if event:
        lines.append(Attribute("fmtp", f"{event.payload_type} {_EVENTS}"))
    lines.append(Attribute("ptime", str(ptime_ms)))
    if mux:
        lines.append(Attribute("rtcp-mux"))
    elif local.rtcp_port not in (None, local.rtp_port + 1):
        lines.append(Attribute("rtcp", str(local.rtcp_port)))
    lines.append(Attribute(direction.value))
    payload_types = tuple(str(rtpmap.payload_type) for rtpmap in formats)
    return MediaDescription("audio", local.rtp_port, protocol, payload_types, attributes=tuple(lines))


def audio_in_use(described: SessionDescription) -> int | None:
    """Return the place of the audio stream that a description has in use; None without one."""
    return next((i for i, media in enumerate(described.media) if media.kind == "audio" and media.port), None)


def format_key(rtpmap: RtpMap) -> tuple[str, int]:
    """Return what makes two formats the same; names compare without case (RFC 4855 §3)."""
    return rtpmap.encoding.upper(), rtpmap.clock_rate_hz
