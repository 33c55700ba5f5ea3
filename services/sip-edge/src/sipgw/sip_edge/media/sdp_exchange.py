"""SDP offers and answers on behalf of a relay (RFC 3264), and the `MediaSpec` that the relay gets.

The relay never sees SDP; the edge never sees RTP. The version of our description rises by one with each
change.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.sdp import (
    AnswerMismatch,
    Direction,
    MediaCapabilities,
    NegotiatedMedia,
    NoCommonCodec,
    SdpParseError,
    SessionDescription,
    accept_answer,
    answer_offer,
    make_offer,
    move_offer,
    renew_offer,
)
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.gateway_config import CODECS

_CODEC_OF_NAME = {"PCMU": config.AUDIO_CODEC_PCMU, "PCMA": config.AUDIO_CODEC_PCMA}
_DIRECTIONS = {
    Direction.SENDRECV: relay.MEDIA_DIRECTION_SENDRECV,
    Direction.SENDONLY: relay.MEDIA_DIRECTION_SENDONLY,
    Direction.RECVONLY: relay.MEDIA_DIRECTION_RECVONLY,
    Direction.INACTIVE: relay.MEDIA_DIRECTION_INACTIVE,
}
NOT_ACCEPTABLE = 488
_LONGEST_WARNING = 200
_parse = lru_cache(maxsize=256)(SessionDescription.parse)
"""Cached, since each offer is parsed twice within milliseconds: before and after a relay is known."""


@dataclass(frozen=True, slots=True)
class Described:
    """Our description as bytes, and the media parameters for the relay."""

    sdp: bytes
    media: relay.MediaSpec
    is_held: bool = field(default=False, kw_only=True)


def read_offer(body: bytes) -> SessionDescription:
    """Parse the peer's description. Raises Rejected(400) that names the bad line."""
    try:
        return _parse(body)
    except SdpParseError as error:
        raise Rejected(400, _one_line(f"Bad SDP: {error}")) from error


def named_addresses(body: bytes) -> set[str]:
    """Give the hosts that a description names for media; none if it cannot be parsed."""
    try:
        described = _parse(body)
    except SdpParseError:
        return set()
    connections = [described.connection, *(stream.connection for stream in described.media)]
    rtcp = [stream.rtcp.address for stream in described.media if stream.rtcp is not None]
    return {one.host for one in connections if one is not None} | {one for one in rtcp if one}


def negotiate(offer: SessionDescription, capabilities: MediaCapabilities) -> relay.MediaSpec:
    """Negotiate an offer before a relay is known. Raises Rejected(488)."""
    return _answer(offer, capabilities, calls.MediaAnchor(media_address="0.0.0.0", rtp_port=9), 0, 0).media


def answer_with(
    offer: SessionDescription,
    capabilities: MediaCapabilities,
    record: calls.CallSession,
    version: int,
) -> Described:
    """Make our answer with the relay's ports of `record`. Raises Rejected(488)."""
    return _answer(offer, capabilities, record.media, _session_id(record), version)


def offer_with(capabilities: MediaCapabilities, record: calls.CallSession, version: int) -> Described:
    """Make our offer of all codecs with the relay's ports of `record`.

    Until the answer arrives, the relay expects the first codec.
    """
    offer = make_offer(
        capabilities,
        address=record.media.media_address,
        rtp_port=record.media.rtp_port,
        rtcp_port=record.media.rtcp_port or None,
        session_id=_session_id(record),
        session_version=version,
    )
    return Described(offer.to_bytes(), offered_media(capabilities))


def renewed_offer(capabilities: MediaCapabilities, record: calls.CallSession, version: int) -> Described:
    """Make our offer within a call: all codecs, on the streams and payload types that the call has.

    Raises Rejected(488).
    """
    leg = record.legs[0]
    try:
        offer = renew_offer(
            SessionDescription.parse(leg.local_sdp),
            SessionDescription.parse(leg.remote_sdp),
            capabilities,
            session_version=version,
        )
    except (SdpParseError, NoCommonCodec) as error:
        raise not_acceptable(str(error)) from error
    return Described(offer.to_bytes(), relay.MediaSpec())


def moved(record: calls.CallSession, anchor: calls.MediaAnchor, version: int) -> Described:
    """Make our last description with the ports of another relay. Raises Rejected(488)."""
    leg = record.legs[0]
    try:
        offer = move_offer(
            SessionDescription.parse(leg.local_sdp),
            address=anchor.media_address,
            rtp_port=anchor.rtp_port,
            rtcp_port=anchor.rtcp_port or None,
            session_version=version,
        )
    except (SdpParseError, NoCommonCodec) as error:
        raise not_acceptable(str(error)) from error
    return Described(offer.to_bytes(), relay.MediaSpec())


def agreed(record: calls.CallSession, capabilities: MediaCapabilities) -> relay.MediaSpec:
    """Give the media that both sides' last descriptions agree on. Raises Rejected(488).

    The codec in use is kept even if the config no longer has it.
    """
    leg = record.legs[0]
    every = replace(capabilities, codecs=tuple(CODECS.values()))
    return accept(leg.local_sdp, leg.remote_sdp, every).media


def offered_media(capabilities: MediaCapabilities) -> relay.MediaSpec:
    """Give the media of our offer that has no answer yet, and so no remote address."""
    first = capabilities.codecs[0]
    event = capabilities.telephone_event_payload_type
    return relay.MediaSpec(
        codec=_CODEC_OF_NAME[first.name],
        send_payload_type=first.payload_type,
        receive_payload_type=first.payload_type,
        clock_rate_hz=first.clock_rate_hz,
        telephone_event=relay.TelephoneEvent(
            send_payload_type=event, receive_payload_type=event, clock_rate_hz=first.clock_rate_hz
        )
        if capabilities.telephone_event
        else None,
        ptime_ms=capabilities.ptime_ms,
        direction=relay.MEDIA_DIRECTION_SENDRECV,
    )


def accept(local_sdp: bytes, answer: bytes, capabilities: MediaCapabilities) -> Described:
    """Negotiate the peer's answer to our offer. Raises Rejected(488) if they have nothing in common."""
    try:
        media = accept_answer(
            SessionDescription.parse(local_sdp), SessionDescription.parse(answer), capabilities
        )
    except (SdpParseError, NoCommonCodec, AnswerMismatch) as error:
        raise not_acceptable(str(error)) from error
    return Described(local_sdp, media_spec(media), is_held=media.is_held_by_peer)


def media_spec(media: NegotiatedMedia) -> relay.MediaSpec:
    """Convert negotiated media for the relay."""
    event = media.telephone_event
    return relay.MediaSpec(
        remote_address=media.remote_address,
        remote_rtp_port=media.remote_rtp_port,
        remote_rtcp_address=media.remote_rtcp_address,
        remote_rtcp_port=media.remote_rtcp_port,
        codec=_CODEC_OF_NAME[media.codec],
        send_payload_type=media.send_payload_type,
        receive_payload_type=media.receive_payload_type,
        clock_rate_hz=media.clock_rate_hz,
        telephone_event=relay.TelephoneEvent(
            send_payload_type=event.send_payload_type,
            receive_payload_type=event.receive_payload_type,
            clock_rate_hz=event.clock_rate_hz,
        )
        if event is not None
        else None,
        ptime_ms=media.ptime_ms,
        direction=_DIRECTIONS[media.direction],
        rtcp_mux=media.rtcp_mux,
        addressing=relay.ADDRESSING_SYMMETRIC,
    )


def _answer(
    offer: SessionDescription,
    capabilities: MediaCapabilities,
    anchor: calls.MediaAnchor,
    session_id: int,
    version: int,
) -> Described:
    try:
        answer = answer_offer(
            offer,
            capabilities,
            address=anchor.media_address,
            rtp_port=anchor.rtp_port,
            rtcp_port=anchor.rtcp_port or None,
            session_id=session_id,
            session_version=version,
        )
    except NoCommonCodec as error:
        raise not_acceptable(str(error)) from error
    return Described(
        answer.session.to_bytes(), media_spec(answer.media), is_held=answer.media.is_held_by_peer
    )


def not_acceptable(why: str) -> Rejected:
    """Make a 488 whose reason stands in the Warning header (RFC 3261 §20.43), the log and the record."""
    detail = _one_line(why)
    return Rejected(NOT_ACCEPTABLE, headers=(("Warning", f'305 sipgw "{detail}"'),), detail=detail)


def _session_id(record: calls.CallSession) -> int:
    return int(record.call_id[:15] or "0", 16)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() and c != '"' else " " for c in text)[
        :_LONGEST_WARNING
    ]
