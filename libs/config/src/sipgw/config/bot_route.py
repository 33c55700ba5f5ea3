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
    regex: Regex | None = Field(default=None, description="The whole value matches; see Regular expressions.")

    @model_validator(mode="after")
    def _check_one(self) -> "StringMatch":
        given = [name for name in ("exact", "prefix", "regex") if getattr(self, name) is not None]
        if len(given) != 1:
            raise refuse(" and ".join(given) or "none of them", "exactly one of exact, prefix, regex")
        return self


class HeaderMatch(Document):
    """A header of the INVITE; where it occurs several times, one match is enough."""

    name: HeaderName = Field(description="The header's name, in any case.")
    value: StringMatch = Field(description="What its value has to be.")


class RouteMatch(Document):
    """Conditions for the calls of the route: all must hold; without any, the route takes every call."""

    trunks: list[Name] = Field(
        default_factory=list, max_length=64, description="Trunks by name; none is any."
    )
    to: StringMatch | None = Field(
        default=None,
        description="The called number: that of the Request-URI, without separators and parameters.",
    )
    from_: StringMatch | None = Field(
        default=None, alias="from", description="The calling number: that of the From header."
    )
    headers: list[HeaderMatch] = Field(
        default_factory=list, max_length=16, description="Headers of the INVITE."
    )


class BotTarget(Document):
    """A bot: a gRPC server."""

    endpoint: Endpoint = Field(description="Where the bot listens, or the echo bot built into the relay.")
    weight: int = Field(
        default=1, ge=0, le=1000, description="Share of the calls among the route's bots; 0 is none."
    )
    tls: bool = Field(default=False, description="Connect with TLS.")


class BotAudio(Document):
    """The audio format to and from the bot."""

    model_config = rules(
        Rule("self.codec == 'PCM16' || self.rateHz == 8000", "PCMU and PCMA at 8000 Hz, or codec PCM16")
    )

    codec: Literal["PCMU", "PCMA", "PCM16"] = Field(
        default="PCMU", description="PCM16 is linear, little-endian."
    )
    rate_hz: Literal[8000, 16000, 24000, 48000] = Field(
        default=8000, description="Samples a second; PCMU and PCMA: 8000."
    )
    frame_ms: Literal[10, 20, 30, 40, 60] = Field(default=20, description="Length of a chunk.")

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
        default_factory=list, max_length=16, description="Bots that take it then, by weight."
    )
    status: Literal[480, 503] = Field(
        default=480,
        description="Answer when these are not ready either: carriers try the next gateway on both.",
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
        description="Calls at once; 0 is no limit. Above it: fallback.bots, else 503.",
    )
    bot_ready_timeout_ms: int = Field(
        default=5000,
        ge=100,
        le=60_000,
        description="From the INVITE to the bot being ready; then fallback.",
    )
    bot_silent_after_ms: int = Field(
        default=0,
        ge=0,
        le=600_000,
        description="Hang up when the bot has said nothing for so long after the answer; 0 is off.",
    )
    bot_reconnect_limit_ms: int = Field(
        default=10_000,
        ge=0,
        le=600_000,
        description="How long a lost bot is called again while the caller hears silence.",
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
        description="The highest is tried first; of equal ones the first by name.",
    )
    match: RouteMatch = RouteMatch()
    bots: list[BotTarget] = Field(min_length=1, max_length=64, description="Calls are spread by weight.")
    protocol: Literal["auto", "trunk", "stream-call"] = Field(
        default="auto",
        description="auto: many calls on one Trunk stream; StreamCall where the bot does not have it.",
    )
    answer: Literal["bot-ready", "immediate"] = Field(
        default="bot-ready", description="When the call is answered."
    )
    early_media: bool = Field(
        default=False, description="183 with SDP instead of 180: heard before the answer."
    )
    playout: Literal["queued", "live"] = Field(
        default="queued",
        description="How a standing backlog is worked off: queued waits for pauses, live does not.",
    )
    on_bot_finished: Literal["hangup", "keep"] = Field(
        default="hangup", description="When the bot ends its stream with OK, after its audio has been played."
    )
    on_bot_lost: Literal["reopen", "end"] = Field(
        default="reopen",
        description="When the call's relay dies and the bot can't resume: a new stream, or hang up.",
    )
    audio: BotAudio = BotAudio()
    headers_to_bot: list[HeaderName] = Field(
        default_factory=list, max_length=32, description="Headers of the INVITE that the bot is told."
    )
    record: bool = Field(
        default=False, description="Record the calls, where the gateway has a recording directory."
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
