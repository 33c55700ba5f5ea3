"""Read the specs of relay/v1 commands into values that the media plane and the bot streams take."""

import ipaddress
from pathlib import Path

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.calls.session import BUILTIN_ECHO, CallSpec
from sipgw.media_relay.errors import SpecError
from sipgw.media_relay.plane.media_parameters import EventFormat, MediaParameters, MediaPeer
from sipgw.media_relay.streams.bot_call import BotCall, BotProtocol
from sipgw.rtp.media_destination import DestinationRules
from sipgw.rtp.source_latch import LatchRules, Source, SymmetricMode, canonical_host
from sipgw.runtime.telemetry.traces import parse_traceparent

_RATE_HZ = 8000
_CODECS = {config_pb2.AUDIO_CODEC_PCMU: Codec.PCMU, config_pb2.AUDIO_CODEC_PCMA: Codec.PCMA}
_BOT_CODECS = {
    config_pb2.BOT_CODEC_UNSPECIFIED: Codec.PCMU,
    config_pb2.BOT_CODEC_PCMU: Codec.PCMU,
    config_pb2.BOT_CODEC_PCMA: Codec.PCMA,
    config_pb2.BOT_CODEC_PCM16: Codec.PCM16,
}
_PROTOCOLS = {
    config_pb2.BOT_PROTOCOL_TRUNK: BotProtocol.TRUNK,
    config_pb2.BOT_PROTOCOL_STREAM_CALL: BotProtocol.STREAM_CALL,
}
_SYMMETRIC = {
    config_pb2.SYMMETRIC_MEDIA_UNSPECIFIED: SymmetricMode.AUTO,
    config_pb2.SYMMETRIC_MEDIA_AUTO: SymmetricMode.AUTO,
    config_pb2.SYMMETRIC_MEDIA_ALWAYS: SymmetricMode.ALWAYS,
    config_pb2.SYMMETRIC_MEDIA_OFF: SymmetricMode.OFF,
}
_LAST_PORT = 65535
_PTIMES_MS = (10, 20, 30, 40, 50, 60)
_BOT_FRAMES_MS = (10, 20, 30, 40, 60, 80, 100)


def read_call(call_id: str, allocate: pb.Allocate) -> CallSpec:
    """Read the content of an Allocate command. Raises SpecError that names the field."""
    _check_call_id(call_id)
    media = read_media(allocate.media)
    bot = read_bot(call_id, allocate, media.wire.codec)
    playout = allocate.bot.playout
    is_live = playout == config_pb2.PLAYOUT_LIVE or (
        bot is None and playout == config_pb2.PLAYOUT_UNSPECIFIED
    )
    return CallSpec(
        media=media,
        bot=bot,
        is_live=is_live,
        is_early=allocate.early_media,
        waits_for_start=allocate.continuation.bot_at_start,
        elapsed_ms=allocate.continuation.elapsed_ms if allocate.HasField("continuation") else None,
        recording=_recording(call_id, allocate),
        trace=parse_traceparent(allocate.traceparent),
    )


def read_media(spec: pb.MediaSpec) -> MediaParameters:
    """Read the media agreed with a caller. Raises SpecError that names the field."""
    if spec.codec not in _CODECS:
        raise SpecError("media.codec: must be PCMU or PCMA")
    if spec.clock_rate_hz not in (0, _RATE_HZ):
        raise SpecError(f"media.clock_rate_hz: {spec.clock_rate_hz}, G.711 needs {_RATE_HZ}")
    ptime_ms = spec.ptime_ms or 20
    if ptime_ms not in _PTIMES_MS:
        raise SpecError(f"media.ptime_ms: {ptime_ms}, must be one of {_PTIMES_MS}")
    remote = _source(spec.remote_address, spec.remote_rtp_port, "media.remote")
    rtcp_address = spec.remote_rtcp_address or spec.remote_address
    has_next = 0 < spec.remote_rtp_port < _LAST_PORT  # when RTP has the last port, no port is left for RTCP
    rtcp_port = spec.remote_rtcp_port or (spec.remote_rtp_port + 1 if has_next else 0)
    return MediaParameters(
        remote=remote,
        remote_rtcp=_source(rtcp_address, rtcp_port, "media.remote_rtcp"),
        wire=AudioFormat(_CODECS[spec.codec], _RATE_HZ, ptime_ms),
        send_payload_type=_payload_type(spec.send_payload_type, "media.send_payload_type"),
        receive_payload_type=_payload_type(spec.receive_payload_type, "media.receive_payload_type"),
        events=_events(spec),
        is_sending=spec.direction not in (pb.MEDIA_DIRECTION_RECVONLY, pb.MEDIA_DIRECTION_INACTIVE),
        is_receiving=spec.direction not in (pb.MEDIA_DIRECTION_SENDONLY, pb.MEDIA_DIRECTION_INACTIVE),
        is_muxed=spec.rtcp_mux,
        peer=_peer(spec),
    )


def read_bot(call_id: str, allocate: pb.Allocate, codec: Codec) -> BotCall | None:
    """Read the facts for the bot streams; None for the built-in echo.

    Raises SpecError that names the field.
    """
    spec = allocate.bot
    if spec.endpoint == BUILTIN_ECHO:
        return None
    if ":" not in spec.endpoint:
        raise SpecError(f"bot.endpoint: {spec.endpoint!r}, must be host:port or {BUILTIN_ECHO}")
    if spec.audio.codec not in _BOT_CODECS:
        raise SpecError("bot.audio.codec: must be PCMU, PCMA or PCM16")
    bot_format = AudioFormat(
        _BOT_CODECS[spec.audio.codec], spec.audio.rate_hz or _RATE_HZ, spec.audio.frame_ms or 20
    )
    if bot_format.frame_ms not in _BOT_FRAMES_MS:
        raise SpecError(f"bot.audio.frame_ms: {bot_format.frame_ms}, must be one of {_BOT_FRAMES_MS}")
    return BotCall(
        call_id=call_id,
        endpoint=spec.endpoint,
        wire_format=AudioFormat(codec, _RATE_HZ, bot_format.frame_ms),
        bot_format=bot_format,
        tls=spec.tls,
        protocol=_PROTOCOLS.get(spec.protocol, BotProtocol.AUTO),
        ready_timeout_ms=spec.ready_timeout_ms or 5000,
        silent_after_ms=spec.silent_after_ms,
        reconnect_limit_ms=spec.reconnect_limit_ms or 10000,
        epoch=spec.epoch or 1,
        resumed=allocate.HasField("continuation"),
        resume_token=spec.resume_token,
        from_=getattr(spec, "from"),
        to=spec.to,
        route=spec.route,
        trunk=spec.trunk,
        sip_headers=dict(spec.sip_headers),
        from_parameters=dict(spec.from_parameters),
        to_parameters=dict(spec.to_parameters),
        preferred_address=spec.preferred_address,
        traceparent=allocate.traceparent,
    )


def _recording(call_id: str, allocate: pb.Allocate) -> Path | None:
    if not allocate.HasField("recording"):
        return None
    if not allocate.recording.path:
        raise SpecError("recording.path: empty, must be a directory")
    part = f".{allocate.recording.part}" if allocate.recording.part > 1 else ""
    return Path(allocate.recording.path) / f"{call_id}{part}.wav"


def _check_call_id(call_id: str) -> None:
    """Refuse an id that can't be a file name: letters, digits, dashes and underscores are allowed."""
    if not 1 <= len(call_id) <= 64 or not call_id.replace("-", "").replace("_", "").isalnum():
        raise SpecError("call_id: must be 1 to 64 letters, digits, dashes and underscores")


def _peer(spec: pb.MediaSpec) -> MediaPeer:
    is_fixed = spec.addressing == pb.ADDRESSING_AS_IN_SDP
    if not spec.HasField("peer"):  # an older edge, which tells nothing that the rules need
        mode = SymmetricMode.OFF if is_fixed else SymmetricMode.ALWAYS
        return MediaPeer(LatchRules(mode), DestinationRules(), is_acknowledged=True)
    peer = spec.peer
    try:
        networks = tuple(ipaddress.ip_network(one) for one in peer.networks)
    except ValueError as error:
        raise SpecError(f"media.peer.networks: {error}") from error
    signalling = canonical_host(peer.signalling_address)
    mode = SymmetricMode.OFF if is_fixed else _SYMMETRIC.get(peer.symmetric, SymmetricMode.AUTO)
    return MediaPeer(
        LatchRules(mode, signalling, peer.behind_nat, networks),
        DestinationRules(signalling, networks, peer.trusted),
        is_acknowledged=peer.acknowledged,
    )


def _events(spec: pb.MediaSpec) -> EventFormat | None:
    if not spec.HasField("telephone_event"):
        return None
    events = spec.telephone_event
    return EventFormat(
        _payload_type(events.send_payload_type, "media.telephone_event.send_payload_type"),
        _payload_type(events.receive_payload_type, "media.telephone_event.receive_payload_type"),
        events.clock_rate_hz or _RATE_HZ,
    )


def _payload_type(number: int, field: str) -> int:
    if number > 127:
        raise SpecError(f"{field}: {number}, must be 0 to 127")
    return number


def _source(address: str, port: int, field: str) -> Source | None:
    if not address or not port:
        return None
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise SpecError(f"{field}_address: {address!r} is not an IP address") from error
    if port > _LAST_PORT:
        raise SpecError(f"{field}_port: {port}, must be 1 to 65535")
    return Source(canonical_host(address), port)
