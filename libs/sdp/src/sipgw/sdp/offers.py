"""Our offers (RFC 3264 §5, §8): the first one, and those within a session, which keep what it has.

An offer within a session has as many m= lines as were agreed, those refused at port 0, and gives no payload
type another meaning (§8.3.2).
"""

from dataclasses import replace

from sipgw.sdp.attributes import Attribute, Direction, RtpMap
from sipgw.sdp.capabilities import TELEPHONE_EVENT, MediaCapabilities
from sipgw.sdp.describing import LocalEnd, audio_in_use, describe_audio, format_key
from sipgw.sdp.errors import NoCommonCodec
from sipgw.sdp.session import Connection, MediaDescription, SessionDescription, address_type_of

_DYNAMIC = range(96, 128)
"""Payload types without a static meaning (RFC 3551 §6)."""


def make_offer(
    capabilities: MediaCapabilities,
    *,
    address: str,
    rtp_port: int,
    session_id: int,
    session_version: int,
    rtcp_port: int | None = None,
    direction: Direction = Direction.SENDRECV,
) -> SessionDescription:
    """Offer all our codecs on one audio stream."""
    local = LocalEnd(address, rtp_port, session_id, session_version, rtcp_port)
    codecs = [RtpMap(codec.payload_type, codec.name, codec.clock_rate_hz) for codec in capabilities.codecs]
    event = RtpMap(capabilities.telephone_event_payload_type, TELEPHONE_EVENT, codecs[0].clock_rate_hz)
    stream = describe_audio(
        local,
        "RTP/AVP",
        codecs,
        event if capabilities.telephone_event else None,
        capabilities.ptime_ms,
        direction,
        mux=capabilities.rtcp_mux,
    )
    return SessionDescription(origin=local.origin, connection=Connection.of(address), media=(stream,))


def renew_offer(
    described: SessionDescription,
    remote: SessionDescription,
    capabilities: MediaCapabilities,
    *,
    session_version: int,
) -> SessionDescription:
    """Offer all our codecs within a session that `described` and the peer's `remote` made, with sendrecv.

    Formats in use stand first, under their payload types. What is added gets a number that neither
    description has for anything else. Raises NoCommonCodec when no audio is in use.
    """
    index = _audio_of(described)
    stream = described.media[index]
    used = list(stream.rtp_formats)
    events = [one for one in used if one.encoding.lower() == TELEPHONE_EVENT]
    theirs = remote.media[index] if index < len(remote.media) else stream
    taken = _numbers_of(stream) | _numbers_of(theirs)
    codecs = [one for one in used if one not in events]
    known = {format_key(one) for one in codecs}
    for codec in capabilities.codecs:
        wanted = RtpMap(codec.payload_type, codec.name, codec.clock_rate_hz)
        if format_key(wanted) not in known:
            codecs.append(_numbered(wanted, taken, theirs.rtp_formats))
    if not events and capabilities.telephone_event:
        number = capabilities.telephone_event_payload_type
        event = RtpMap(number, TELEPHONE_EVENT, codecs[0].clock_rate_hz)
        events.append(_numbered(event, taken, theirs.rtp_formats))
    local = LocalEnd("", stream.port, 0, 0, stream.rtcp.port if stream.rtcp else None)
    offered = describe_audio(
        local,
        stream.protocol,
        codecs,
        events[0] if events else None,
        stream.ptime_ms or capabilities.ptime_ms,
        Direction.SENDRECV,
        mux=stream.has_rtcp_mux,
    )
    return replace(
        described,
        origin=replace(described.origin, session_version=str(session_version)),
        media=_with(described, index, offered),
    )


def move_offer(
    described: SessionDescription, *, address: str, rtp_port: int, session_version: int, rtcp_port: int | None
) -> SessionDescription:
    """Offer our last description from another address, with sendrecv (RFC 3264 §8.3.2).

    Streams and payload types stay the same. A peer that holds us answers sendonly again (RFC 6337 §5.3).
    Raises NoCommonCodec when none of its audio is in use.
    """
    index = _audio_of(described)
    stream = described.media[index]
    kept = tuple(
        one
        for one in stream.attributes
        if one.name.lower() not in {"rtcp", *(direction.value for direction in Direction)}
    )
    attributes = [*kept]
    if rtcp_port not in (None, rtp_port + 1) and not stream.has_rtcp_mux:
        attributes.append(Attribute("rtcp", str(rtcp_port)))
    attributes.append(Attribute(Direction.SENDRECV.value))
    moved = replace(stream, port=rtp_port, connection=None, attributes=tuple(attributes))
    return replace(
        described,
        origin=replace(
            described.origin,
            session_version=str(session_version),
            address=address,
            address_type=address_type_of(address),
        ),
        connection=Connection.of(address),
        media=_with(described, index, moved),
    )


def _audio_of(described: SessionDescription) -> int:
    index = audio_in_use(described)
    if index is None:
        raise NoCommonCodec("our description has no audio stream in use")
    return index


def _with(
    described: SessionDescription, index: int, stream: MediaDescription
) -> tuple[MediaDescription, ...]:
    return tuple(stream if i == index else media for i, media in enumerate(described.media))


def _numbers_of(stream: MediaDescription) -> set[int]:
    """Return every payload type that a stream names, used or not."""
    mapped = [one.value.split()[0] for one in stream.attributes if one.name.lower() == "rtpmap" and one.value]
    texts = (*stream.formats, *mapped)
    return {int(text) for text in texts if text.isascii() and text.isdigit() and len(text) <= 3}


def _numbered(wanted: RtpMap, taken: set[int], theirs: tuple[RtpMap, ...]) -> RtpMap:
    """Give a format that is added the peer's number for it, else its own, else a free one."""
    number = next((one.payload_type for one in theirs if format_key(one) == format_key(wanted)), None)
    if number is None:
        choices = (wanted.payload_type, *_DYNAMIC)
        number = next((one for one in choices if one not in taken), wanted.payload_type)
    taken.add(number)
    return replace(wanted, payload_type=number)
