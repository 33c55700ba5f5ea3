"""Documents to the config that edges and relays follow. The defaults are in models.py, none are here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipgw.api.config.v1 import config_pb2 as pb

if TYPE_CHECKING:
    from sipgw.config.documents import Documents
    from sipgw.config.models import BotAudio, BotRoute, RouteMatch, SipGateway, SipTrunk, StringMatch

_AUDIO_CODECS = {"PCMU": pb.AUDIO_CODEC_PCMU, "PCMA": pb.AUDIO_CODEC_PCMA}
_BOT_CODECS = {"PCMU": pb.BOT_CODEC_PCMU, "PCMA": pb.BOT_CODEC_PCMA, "PCM16": pb.BOT_CODEC_PCM16}
_ANSWERS = {"bot-ready": pb.ANSWER_MODE_BOT_READY, "immediate": pb.ANSWER_MODE_IMMEDIATE}
_PLAYOUTS = {"queued": pb.PLAYOUT_QUEUED, "live": pb.PLAYOUT_LIVE}
_ON_BOT_FINISHED = {"hangup": pb.ON_BOT_FINISHED_HANGUP, "keep": pb.ON_BOT_FINISHED_KEEP}
_PROTOCOLS = {
    "auto": pb.BOT_PROTOCOL_UNSPECIFIED,
    "trunk": pb.BOT_PROTOCOL_TRUNK,
    "stream-call": pb.BOT_PROTOCOL_STREAM_CALL,
}


def compile_config(documents: Documents) -> pb.GatewayConfig:
    """The config without epoch and version, which the registry gives it; equal documents, equal configs."""
    routes = sorted(documents.routes, key=lambda route: (-route.spec.priority, route.metadata.name))
    return pb.GatewayConfig(
        gateway=_gateway(documents.gateway),
        trunks=[_trunk(trunk) for trunk in sorted(documents.trunks, key=lambda trunk: trunk.metadata.name)],
        routes=[_route(route) for route in routes],
    )


def _gateway(gateway: SipGateway) -> pb.GatewaySettings:
    spec = gateway.spec
    return pb.GatewaySettings(
        name=gateway.metadata.name,
        codecs=[_AUDIO_CODECS[codec] for codec in spec.audio.codecs],
        ptime_ms=spec.audio.ptime_ms,
        max_calls=spec.limits.max_calls,
        max_call_seconds=spec.limits.max_call_seconds,
        recording_directory=spec.recording.directory,
        advertised_addresses=spec.advertise.nodes,
    )


def _trunk(trunk: SipTrunk) -> pb.Trunk:
    return pb.Trunk(name=trunk.metadata.name, source_cidrs=trunk.spec.source_cidrs)


def _route(route: BotRoute) -> pb.Route:
    spec = route.spec
    return pb.Route(
        name=route.metadata.name,
        priority=spec.priority,
        match=_match(spec.match),
        bots=[pb.BotTarget(endpoint=bot.endpoint, weight=bot.weight, tls=bot.tls) for bot in spec.bots],
        answer=_ANSWERS[spec.answer],
        bot_ready_timeout_ms=spec.limits.bot_ready_timeout_ms,
        bot_silent_after_ms=spec.limits.bot_silent_after_ms,
        bot_reconnect_limit_ms=spec.limits.bot_reconnect_limit_ms,
        playout=_PLAYOUTS[spec.playout],
        on_bot_finished=_ON_BOT_FINISHED[spec.on_bot_finished],
        audio=_bot_audio(spec.audio),
        headers_to_bot=spec.headers_to_bot,
        record=spec.record,
        no_bot_status=spec.no_bot_status,
        early_media=spec.early_media,
        protocol=_PROTOCOLS[spec.protocol],
    )


def _bot_audio(audio: BotAudio) -> pb.BotAudio:
    return pb.BotAudio(codec=_BOT_CODECS[audio.codec], rate_hz=audio.rate_hz, frame_ms=audio.frame_ms)


def _match(match: RouteMatch) -> pb.RouteMatch:
    return pb.RouteMatch(
        trunks=match.trunks,
        to=_string_match(match.to),
        headers=[pb.HeaderMatch(name=one.name, value=_string_match(one.value)) for one in match.headers],
        **{"from": _string_match(match.from_)},
    )


def _string_match(match: StringMatch | None) -> pb.StringMatch | None:
    if match is None:
        return None
    if match.exact is not None:
        return pb.StringMatch(exact=match.exact)
    if match.prefix is not None:
        return pb.StringMatch(prefix=match.prefix)
    return pb.StringMatch(regex=match.regex or "")
