"""BotRoute: which calls go to which bot, and how."""

from typing import Literal

from pydantic import Field, model_validator

from sipgw.config.document import Document, Metadata, Name, Rule, refuse, rules
from sipgw.config.scalars import Endpoint, HeaderName, Regex, Text


class StringMatch(Document):
    """Exactly one of the three. Compared with case; a regex may begin with (?i)."""

    model_config = rules(
        Rule(
            "[has(self.exact), has(self.prefix), has(self.regex)].exists_one(given, given)",
            "exactly one of exact, prefix, regex",
        )
    )

    exact: Text | None = Field(default=None, description="The value is this.")
    prefix: Text | None = Field(default=None, description="The value begins with this.")
    regex: Regex | None = Field(
        default=None, description="The whole value matches this; see Regular expressions."
    )

    @model_validator(mode="after")
    def _check_one(self) -> "StringMatch":
        given = [name for name in ("exact", "prefix", "regex") if getattr(self, name) is not None]
        if len(given) != 1:
            raise refuse(" and ".join(given) or "none of them", "exactly one of exact, prefix, regex")
        return self


class HeaderMatch(Document):
    """A header of the INVITE; where it occurs several times, one match is enough."""

    name: HeaderName = Field(description="Name of the header; case does not matter.")
    value: StringMatch = Field(description="Condition that the header's value has to meet.")


class RouteMatch(Document):
    """Conditions for the calls of the route: all must hold; without any, the route takes every call."""

    trunks: list[Name] = Field(
        default_factory=list,
        max_length=64,
        description="Names of the trunks whose calls the route takes; empty means any trunk.",
    )
    to: StringMatch | None = Field(
        default=None,
        description="Condition on the called number (Request-URI), without separators and parameters.",
    )
    from_: StringMatch | None = Field(
        default=None,
        alias="from",
        description="Condition on the calling number (From header), without separators and parameters.",
    )
    headers: list[HeaderMatch] = Field(
        default_factory=list,
        max_length=16,
        description="Conditions on headers of the INVITE; all have to hold.",
    )


class BotTarget(Document):
    """A bot: a gRPC server."""

    endpoint: Endpoint = Field(description="Where the bot listens, or the echo bot built into the relay.")
    weight: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Share of the calls that this bot gets, relative to the other weights; 0 means none.",
    )
    tls: bool = Field(default=False, description="Connect to the bot with TLS.")


class BotAudio(Document):
    """The audio format to and from the bot."""

    model_config = rules(
        Rule("self.codec == 'PCM16' || self.rateHz == 8000", "PCMU and PCMA at 8000 Hz, or codec PCM16")
    )

    codec: Literal["PCMU", "PCMA", "PCM16"] = Field(
        default="PCMU", description="Codec of the audio from and to the bot; PCM16 is linear, little-endian."
    )
    rate_hz: Literal[8000, 16000, 24000, 48000] = Field(
        default=8000, description="Samples a second; PCMU and PCMA need 8000."
    )
    frame_ms: Literal[10, 20, 30, 40, 60] = Field(
        default=20, description="Length of an audio frame from and to the bot, in milliseconds."
    )

    @model_validator(mode="after")
    def _check_rate(self) -> "BotAudio":
        if self.codec != "PCM16" and self.rate_hz != 8000:
            raise refuse(f"{self.codec} at {self.rate_hz} Hz", f"{self.codec} at 8000 Hz, or codec PCM16")
        return self


class Fallback(Document):
    """Treatment of a call when no bot is ready, or limits.maxCalls is reached."""

    model_config = rules(
        Rule(
            "!has(self.bots) || size(self.bots) == 0 || self.bots.exists(bot, bot.weight > 0)",
            "a bot with a weight above 0, or no bots",
        )
    )

    bots: list[BotTarget] = Field(
        default_factory=list,
        max_length=16,
        description="Bots that take the call in this case, chosen by weight.",
    )
    status: Literal[480, 503] = Field(
        default=480,
        description="SIP status if none of these is ready either; carriers try the next gateway on both.",
    )

    @model_validator(mode="after")
    def _check_weights(self) -> "Fallback":
        if self.bots and not any(bot.weight for bot in self.bots):
            raise refuse("bots of weight 0 only", "a bot with a weight above 0, or no bots")
        return self


class RouteLimits(Document):
    """How many calls the route takes and how long the gateway waits for a bot."""

    max_calls: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Most calls at once; 0 means no limit. Further calls go to fallback.bots, or get 503.",
    )
    bot_ready_timeout_ms: int = Field(
        default=5000,
        ge=100,
        le=60_000,
        description="Longest time from the INVITE until the bot is ready; after it the fallback is used.",
    )
    bot_silent_after_ms: int = Field(
        default=0,
        ge=0,
        le=600_000,
        description="Hang up when the bot has said nothing for this long after the answer; 0 means never.",
    )
    bot_reconnect_limit_ms: int = Field(
        default=10_000,
        ge=0,
        le=600_000,
        description="How long the relay tries to reach a lost bot again, while the caller hears silence.",
    )


class BotRouteSpec(Document):
    """A route: the calls that it takes, the bots that serve them, and the settings of these calls."""

    model_config = rules(
        Rule("self.bots.exists(bot, bot.weight > 0)", "a bot with a weight above 0"),
    )

    priority: int = Field(
        default=0,
        ge=-1_000_000,
        le=1_000_000,
        description="Routes are tried from the highest priority down; routes of equal priority by name.",
    )
    match: RouteMatch = RouteMatch()
    bots: list[BotTarget] = Field(
        min_length=1, max_length=64, description="Bots that the route's calls go to, spread by weight."
    )
    protocol: Literal["auto", "trunk", "stream-call"] = Field(
        default="auto",
        description="auto: Trunk (many calls on one stream), or StreamCall if the bot has no Trunk.",
    )
    answer: Literal["bot-ready", "immediate"] = Field(
        default="bot-ready", description="When the call is answered: once the bot is ready, or immediately."
    )
    early_media: bool = Field(
        default=False,
        description="Send 183 with SDP instead of 180, so that the bot is heard before the answer.",
    )
    playout: Literal["queued", "live"] = Field(
        default="queued",
        description="How a backlog of bot audio is reduced: queued waits for pauses, live hardly waits.",
    )
    on_bot_finished: Literal["hangup", "keep"] = Field(
        default="hangup",
        description="What to do when the bot has ended its stream with OK and its audio has been played.",
    )
    on_bot_lost: Literal["reopen", "end"] = Field(
        default="reopen",
        description="What to do when the relay dies and the bot can't resume: a new stream, or hang up.",
    )
    audio: BotAudio = BotAudio()
    headers_to_bot: list[HeaderName] = Field(
        default_factory=list,
        max_length=32,
        description="Headers of the INVITE that are passed on to the bot.",
    )
    record: bool = Field(
        default=False, description="Record the calls, if the gateway has a recording directory."
    )
    fallback: Fallback = Fallback()
    limits: RouteLimits = RouteLimits()

    @model_validator(mode="after")
    def _check_weights(self) -> "BotRouteSpec":
        if not any(bot.weight for bot in self.bots):
            raise refuse("bots of weight 0 only", "a bot with a weight above 0")
        return self


class BotRoute(Document):
    """A route: the calls that it takes, the bots that serve them, and the settings of these calls."""

    api_version: Literal["sipgw.io/v1alpha1"]
    kind: Literal["BotRoute"]
    metadata: Metadata
    spec: BotRouteSpec
