"""Compile documents to the config that edges and relays follow. All defaults are in models.py."""

from collections.abc import Mapping

from sipgw.api.config.v1 import config_pb2 as pb
from sipgw.config.bot_route import BotAudio, BotRoute, BotTarget, RouteMatch, StringMatch
from sipgw.config.documents import Documents
from sipgw.config.sealing import SealKey, seal_password
from sipgw.config.secrets import Secrets
from sipgw.config.sip_gateway import SipGateway
from sipgw.config.sip_trunk import SipTrunk

_AUDIO_CODECS = {"PCMU": pb.AUDIO_CODEC_PCMU, "PCMA": pb.AUDIO_CODEC_PCMA}
_BOT_CODECS = {"PCMU": pb.BOT_CODEC_PCMU, "PCMA": pb.BOT_CODEC_PCMA, "PCM16": pb.BOT_CODEC_PCM16}
_DIGEST_ALGORITHMS = {"SHA-256": pb.DIGEST_ALGORITHM_SHA256, "MD5": pb.DIGEST_ALGORITHM_MD5}
_SYMMETRIC = {
    "auto": pb.SYMMETRIC_MEDIA_AUTO,
    "always": pb.SYMMETRIC_MEDIA_ALWAYS,
    "off": pb.SYMMETRIC_MEDIA_OFF,
}
_ANSWERS = {"bot-ready": pb.ANSWER_MODE_BOT_READY, "immediate": pb.ANSWER_MODE_IMMEDIATE}
_PLAYOUTS = {"queued": pb.PLAYOUT_QUEUED, "live": pb.PLAYOUT_LIVE}
_ON_BOT_FINISHED = {"hangup": pb.ON_BOT_FINISHED_HANGUP, "keep": pb.ON_BOT_FINISHED_KEEP}
_ON_BOT_LOST = {"reopen": pb.ON_BOT_LOST_REOPEN, "end": pb.ON_BOT_LOST_END}
_PROTOCOLS = {
    "auto": pb.BOT_PROTOCOL_UNSPECIFIED,
    "trunk": pb.BOT_PROTOCOL_TRUNK,
    "stream-call": pb.BOT_PROTOCOL_STREAM_CALL,
}


def compile_config(
    documents: Documents, *, seal_key: SealKey | None = None, addresses: Mapping[str, str] | None = None
) -> pb.GatewayConfig:
    """Compile the config. The registry adds epoch and version; equal documents give equal configs.

    ``seal_key`` is needed for trunks with passwords (ValueError without it). ``addresses`` are those that the
    operator has found for nodes; addresses in the documents take precedence.
    """
    routes = sorted(documents.routes, key=lambda route: (-route.spec.priority, route.metadata.name))
    trunks = sorted(documents.trunks, key=lambda trunk: trunk.metadata.name)
    return pb.GatewayConfig(
        gateway=_gateway(documents.gateway, addresses or {}),
        trunks=[_trunk(trunk, documents.secrets, seal_key) for trunk in trunks],
        routes=[_route(route) for route in routes],
    )


def _gateway(gateway: SipGateway, addresses: Mapping[str, str]) -> pb.GatewaySettings:
    spec = gateway.spec
    return pb.GatewaySettings(
        name=gateway.metadata.name,
        codecs=[_AUDIO_CODECS[codec] for codec in spec.audio.codecs],
        ptime_ms=spec.audio.ptime_ms,
        max_calls=spec.limits.max_calls,
        max_call_seconds=spec.limits.max_call_seconds,
        recording_directory=spec.recording.directory,
        advertised_addresses={**addresses, **spec.advertise.nodes},
        drain_deadline_seconds=spec.drain.deadline_seconds,
        drain_grace_seconds=spec.drain.grace_seconds,
    )


def _trunk(trunk: SipTrunk, secrets: Secrets, seal_key: SealKey | None) -> pb.Trunk:
    name, spec = trunk.metadata.name, trunk.spec
    media = pb.TrunkMedia(symmetric=_SYMMETRIC[spec.media.symmetric], networks=spec.media.networks)
    compiled = pb.Trunk(
        name=name,
        source_cidrs=spec.source_cidrs,
        calls_per_second=spec.limits.calls_per_second,
        media=media,
    )
    if spec.numbers is not None:
        compiled.numbers.country_code = spec.numbers.country_code
        compiled.numbers.national_prefix = spec.numbers.national_prefix
        compiled.numbers.international_prefix = spec.numbers.international_prefix
    if spec.auth is not None:
        if seal_key is None:
            raise ValueError(f"SipTrunk {name!r} has a password, and there is no seal key to encrypt it with")
        digest = spec.auth.digest
        sealed = seal_password(secrets.password(digest.secret_ref), name, seal_key)
        compiled.digest.CopyFrom(
            pb.DigestCredentials(
                username=digest.username,
                sealed_password=sealed,
                algorithms=[_DIGEST_ALGORITHMS[one] for one in digest.algorithms],
            )
        )
    return compiled


def _route(route: BotRoute) -> pb.Route:
    spec = route.spec
    return pb.Route(
        name=route.metadata.name,
        priority=spec.priority,
        match=_match(spec.match),
        bots=[_bot(bot) for bot in spec.bots],
        answer=_ANSWERS[spec.answer],
        bot_ready_timeout_ms=spec.limits.bot_ready_timeout_ms,
        bot_silent_after_ms=spec.limits.bot_silent_after_ms,
        bot_reconnect_limit_ms=spec.limits.bot_reconnect_limit_ms,
        playout=_PLAYOUTS[spec.playout],
        on_bot_finished=_ON_BOT_FINISHED[spec.on_bot_finished],
        on_bot_lost=_ON_BOT_LOST[spec.on_bot_lost],
        audio=_bot_audio(spec.audio),
        headers_to_bot=spec.headers_to_bot,
        record=spec.record,
        no_bot_status=spec.fallback.status,
        fallback_bots=[_bot(bot) for bot in spec.fallback.bots],
        max_calls=spec.limits.max_calls,
        early_media=spec.early_media,
        protocol=_PROTOCOLS[spec.protocol],
    )


def _bot(bot: BotTarget) -> pb.BotTarget:
    return pb.BotTarget(endpoint=bot.endpoint, weight=bot.weight, tls=bot.tls)


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
