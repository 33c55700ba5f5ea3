"""Answers (RFC 3264) for one audio stream with telephone events (RFC 4733), ours and the peer's.

The first usable audio stream is taken and the others refused with port 0. The offerer's order of codecs
decides (RFC 3264 §6.1), and the answer repeats its payload type numbers. No SRTP, ICE, bundles or video.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from sipgw.sdp.attributes import Direction, RtpMap
from sipgw.sdp.capabilities import TELEPHONE_EVENT, MediaCapabilities
from sipgw.sdp.describing import LocalEnd, audio_in_use, describe_audio, format_key
from sipgw.sdp.errors import AnswerMismatch, NoCommonCodec
from sipgw.sdp.session import Connection, MediaDescription, SessionDescription

_PROTOCOLS = frozenset({"RTP/AVP", "RTP/AVPF"})
_PTIMES_MS = (10, 20, 30, 40, 50, 60)


@dataclass(frozen=True, slots=True)
class TelephoneEventMedia:
    """Payload types of telephone events, which may differ by direction."""

    send_payload_type: int
    receive_payload_type: int
    clock_rate_hz: int


@dataclass(frozen=True, slots=True)
class NegotiatedMedia:
    """The result of a negotiation, seen from our side.

    ``remote_address`` is "" when the peer gave none that can be sent to (hold by 0.0.0.0, a host name).
    """

    remote_address: str
    remote_rtp_port: int
    remote_rtcp_address: str
    remote_rtcp_port: int
    codec: str
    send_payload_type: int
    receive_payload_type: int
    clock_rate_hz: int
    telephone_event: TelephoneEventMedia | None
    ptime_ms: int
    direction: Direction
    rtcp_mux: bool

    @property
    def is_held_by_peer(self) -> bool:
        """Whether the peer does not want our media."""
        return not self.direction.sends


@dataclass(frozen=True, slots=True)
class Answer:
    """Our answer and the media that it settles."""

    session: SessionDescription
    media: NegotiatedMedia


def answer_offer(
    offer: SessionDescription,
    capabilities: MediaCapabilities,
    *,
    address: str,
    rtp_port: int,
    session_id: int,
    session_version: int,
    rtcp_port: int | None = None,
    direction: Direction = Direction.SENDRECV,
) -> Answer:
    """Answer an offer; ``direction`` is the most that we allow. Raises NoCommonCodec (SIP 488)."""
    index, codec = _choose_stream(offer, capabilities)
    local = LocalEnd(address, rtp_port, session_id, session_version, rtcp_port)
    chosen = offer.media[index]
    event = _telephone_event_of(chosen, codec.clock_rate_hz) if capabilities.telephone_event else None
    events = (
        TelephoneEventMedia(event.payload_type, event.payload_type, codec.clock_rate_hz) if event else None
    )
    media = _negotiated(
        offer,
        chosen,
        capabilities,
        codec=codec,
        receive_payload_type=codec.payload_type,
        telephone_event=events,
        ours=direction,
    )
    answered = describe_audio(
        local, chosen.protocol, [codec], event, media.ptime_ms, media.direction, mux=media.rtcp_mux
    )
    session = SessionDescription(
        origin=local.origin,
        connection=Connection.of(address),
        media=tuple(answered if i == index else _refuse(stream) for i, stream in enumerate(offer.media)),
        # "The t= line in the answer MUST equal that of the offer" (RFC 3264 §6).
        other_lines=tuple(line for line in offer.other_lines if line.letter in "tr"),
    )
    return Answer(session, media)


def accept_answer(
    offer: SessionDescription, answer: SessionDescription, capabilities: MediaCapabilities
) -> NegotiatedMedia:
    """Return the media that the answer to our offer settles.

    Raises AnswerMismatch, or NoCommonCodec when the peer refuses.
    """
    if len(answer.media) != len(offer.media):
        raise AnswerMismatch(f"the offer has {len(offer.media)} m= lines, the answer {len(answer.media)}")
    index = audio_in_use(offer)
    if index is None:
        raise AnswerMismatch("the offer has no audio stream in use")
    offered, answered = offer.media[index], answer.media[index]
    if answered.kind != "audio":
        raise AnswerMismatch(
            f"m= line {index + 1} is audio in the offer, {answered.kind[:20]!r} in the answer"
        )
    if answered.port == 0:
        raise NoCommonCodec("the peer refused the audio stream (port 0)")
    ours = {format_key(rtpmap): rtpmap for rtpmap in reversed(offered.rtp_formats)}
    codec = next((one for one in _carried(answered, capabilities) if format_key(one) in ours), None)
    if codec is None:
        raise NoCommonCodec(f"the answer has none of the codecs offered: {_names_of(answered)}")
    event = _telephone_event_of(answered, codec.clock_rate_hz)
    our_event = ours.get(format_key(event)) if event else None
    return _negotiated(
        answer,
        answered,
        capabilities,
        codec=codec,
        receive_payload_type=ours[format_key(codec)].payload_type,
        telephone_event=TelephoneEventMedia(event.payload_type, our_event.payload_type, event.clock_rate_hz)
        if event and our_event
        else None,
        ours=offer.direction_of(offered),
        mux=answered.has_rtcp_mux and offered.has_rtcp_mux,
    )


def _choose_stream(offer: SessionDescription, capabilities: MediaCapabilities) -> tuple[int, RtpMap]:
    problems: list[str] = []
    for index, stream in enumerate(offer.media):
        if problem := _why_unusable(offer, stream):
            problems.append(problem)
        elif codec := next(_carried(stream, capabilities), None):
            return index, codec
        else:
            problems.append(f"it offers {_names_of(stream)} (supported: {_names_carried(capabilities)})")
    raise NoCommonCodec("; ".join(problems[:5]) or "the offer has no m= line")


def _names_of(stream: MediaDescription) -> str:
    """Return the names of the stream's formats, or their numbers where they have no name."""
    names = {rtpmap.payload_type: rtpmap.encoding for rtpmap in stream.rtp_formats}
    shown = [names.get(int(one), one) if one.isdecimal() else one for one in stream.formats[:20]]
    return " ".join(dict.fromkeys(one[:20] for one in shown)) or "no codec"


def _names_carried(capabilities: MediaCapabilities) -> str:
    return " ".join(codec.name for codec in capabilities.codecs)


def _why_unusable(offer: SessionDescription, stream: MediaDescription) -> str | None:
    if stream.kind != "audio":
        return f"{stream.kind[:20]!r} is not supported"
    if stream.port == 0:
        return "audio is switched off (port 0)"
    if stream.protocol.upper() not in _PROTOCOLS:
        return f"{stream.protocol[:20]!r} is not supported"
    if offer.connection_of(stream) is None:
        return "audio has no c= line"
    return None


def _carried(stream: MediaDescription, capabilities: MediaCapabilities) -> Iterator[RtpMap]:
    """Yield the stream's formats that we support, in its order."""
    for rtpmap in stream.rtp_formats:
        if any(rtpmap.carries(codec.name, codec.clock_rate_hz) for codec in capabilities.codecs):
            yield rtpmap


def _telephone_event_of(stream: MediaDescription, clock_rate_hz: int) -> RtpMap | None:
    """Return the telephone events on the audio's own clock, which RFC 4733 §2.1 wants them to share."""
    return next((one for one in stream.rtp_formats if one.carries(TELEPHONE_EVENT, clock_rate_hz)), None)


def _negotiated(
    remote: SessionDescription,
    stream: MediaDescription,
    capabilities: MediaCapabilities,
    *,
    codec: RtpMap,
    receive_payload_type: int,
    telephone_event: TelephoneEventMedia | None,
    ours: Direction,
    mux: bool | None = None,
) -> NegotiatedMedia:
    connection = remote.connection_of(stream)
    address = _sendable(connection.host) if connection else ""
    muxed = stream.has_rtcp_mux and capabilities.rtcp_mux if mux is None else mux
    rtcp = None if muxed else stream.rtcp
    next_port = stream.port + 1 if stream.port < 65535 else 0
    theirs = remote.direction_of(stream)
    if connection and connection.is_unspecified:
        theirs = theirs.within(Direction.SENDONLY)
    return NegotiatedMedia(
        remote_address=address,
        remote_rtp_port=stream.port,
        remote_rtcp_address=(_sendable(rtcp.address) if rtcp and rtcp.address else "") or address,
        remote_rtcp_port=stream.port if muxed else rtcp.port if rtcp else next_port,
        codec=codec.encoding.upper(),
        send_payload_type=codec.payload_type,
        receive_payload_type=receive_payload_type,
        clock_rate_hz=codec.clock_rate_hz,
        telephone_event=telephone_event,
        ptime_ms=_agree_ptime(stream, capabilities.ptime_ms),
        direction=theirs.reversed.within(ours),
        rtcp_mux=muxed,
    )


def _agree_ptime(stream: MediaDescription, default_ms: int) -> int:
    """Return the packet length that the peer asks for if we support it, never above its maxptime."""
    wanted = stream.ptime_ms if stream.ptime_ms in _PTIMES_MS else default_ms
    longest = stream.maxptime_ms
    if longest is None or wanted <= longest:
        return wanted
    return max((ptime for ptime in _PTIMES_MS if ptime <= longest), default=_PTIMES_MS[0])


def _sendable(host: str) -> str:
    """Return the address if media can be sent to it: a literal address of one host."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "" if address.is_unspecified or address.is_multicast else host


def _refuse(stream: MediaDescription) -> MediaDescription:
    return MediaDescription(stream.kind, 0, stream.protocol, stream.formats[:1] or ("0",))
