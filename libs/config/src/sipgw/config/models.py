"""SipGateway, SipTrunk and BotRoute as people write them: one truth for YAML files, CRDs and the reference.

All defaults are here and nowhere else. Written for Kubernetes' structural schemas: bounds on every list, map
and string, no unions but members of which one is set. What services follow is compiled from these
(compiling.py).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from sipgw.config.errors import RegexRefused
from sipgw.config.regex import MAX_PATTERN, compile_regex

API_VERSION = "sipgw.io/v1alpha1"
BUILTIN_ECHO = "builtin:echo"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a field takes, in words, where type and bounds don't say it."""

    words: str


class Document(BaseModel):
    """A part of a document: unknown fields and values of another type are errors, names are camelCase."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


def refuse(found: str, allowed: str) -> PydanticCustomError:
    """The error of our own checks; explain.py reads both words."""
    return PydanticCustomError(
        "refused", "found {found}; allowed: {allowed}", {"found": found, "allowed": allowed}
    )


def _check_cidr(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        allowed = "an address or a network without host bits, such as 203.0.113.0/24"
        raise refuse(f"{text!r} ({error})", allowed) from error
    return text


def _check_address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise refuse(repr(text), "an IP address, such as 203.0.113.7") from error
    return text


def _check_endpoint(text: str) -> str:
    host, _, port = text.rpartition(":")
    if text != BUILTIN_ECHO and not (host and port.isdigit() and 1 <= int(port) <= 65535):
        raise refuse(repr(text), f"host:port with a port from 1 to 65535, or {BUILTIN_ECHO}")
    return text


def _check_regex(pattern: str) -> str:
    try:
        compile_regex(pattern)
    except RegexRefused as error:
        raise refuse(
            f"{pattern!r}: {error}", "a regular expression of the subset in the reference"
        ) from error
    return pattern


Name: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
    Allowed("lower-case letters, digits and '-', at most 63, first and last no '-'"),
]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
Address: TypeAlias = Annotated[
    str, Field(max_length=45), AfterValidator(_check_address), Allowed("an IP address")
]
Cidr: TypeAlias = Annotated[
    str, Field(max_length=49), AfterValidator(_check_cidr), Allowed("an IP address or network (CIDR)")
]
Endpoint: TypeAlias = Annotated[
    str,
    Field(
        max_length=260,
        pattern=r"^(builtin:echo|\[[0-9A-Fa-f:.]+\]:[0-9]+|[A-Za-z0-9]([-A-Za-z0-9._]*):[0-9]+)$",
    ),
    AfterValidator(_check_endpoint),
    Allowed(f"host:port, [IPv6]:port or {BUILTIN_ECHO}"),
]
Regex: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=MAX_PATTERN),
    AfterValidator(_check_regex),
    Allowed("a regular expression that the whole value matches"),
]
HeaderName: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9.!%*_+`'~-]+$"),
    Allowed("a SIP header name, such as X-Customer"),
]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
NodeName: TypeAlias = Annotated[str, Field(min_length=1, max_length=253)]


class Metadata(BaseModel):
    """The part of a document's metadata that matters here; the rest is Kubernetes' own."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    name: Name = Field(description="Names the document; unique within its kind.")


# --- SipGateway ---


class SipListener(Document):
    """Where `sipgw up` listens. In a cluster the chart's values decide."""

    bind_address: Address = Field(default="0.0.0.0", description="Address that SIP is received on.")
    port: Port = Field(default=5060, description="UDP port that SIP is received on.")


class RtpPorts(Document):
    """Ports for media under `sipgw up`. In a cluster the chart's values decide."""

    first_port: Port = Field(
        default=20000, description="First port for media; RTP takes even ports, RTCP odd ones."
    )
    last_port: Port = Field(default=22399, description="Last port for media; a call takes two.")

    @model_validator(mode="after")
    def _check_range(self) -> RtpPorts:
        if self.last_port <= self.first_port:
            raise refuse(f"{self.first_port} to {self.last_port}", "a lastPort above firstPort")
        return self


class Advertise(Document):
    """The addresses that peers are told to send to."""

    address: Address | None = Field(
        default=None,
        description="Told to every peer by `sipgw up`; without it the address of the way to the peer.",
    )
    nodes: dict[NodeName, Address] = Field(
        default_factory=dict,
        max_length=1024,
        description="In a cluster: node name to the address told to peers.",
    )


class GatewayAudio(Document):
    """What is negotiated with telephones."""

    codecs: list[Literal["PCMU", "PCMA"]] = Field(
        default=["PCMU", "PCMA"],
        min_length=1,
        max_length=2,
        description="Codecs carried, in the order of our offers; in answers the caller's order holds.",
    )
    ptime_ms: Literal[10, 20, 30, 40, 60] = Field(
        default=20, description="Packet length where the peer asks for none."
    )

    @model_validator(mode="after")
    def _check_twice(self) -> GatewayAudio:
        if len(set(self.codecs)) < len(self.codecs):
            raise refuse(f"codecs {self.codecs}", "each codec once")
        return self


class GatewayLimits(Document):
    """What the gateway takes on at most."""

    max_calls: int = Field(
        default=0, ge=0, le=1_000_000, description="Calls at once; 0 is no limit. Above it: 503."
    )
    max_call_seconds: int = Field(default=0, ge=0, le=604_800, description="Length of a call; 0 is no limit.")


class Recording(Document):
    """Stereo WAV of the calls of routes with `record: true`: caller left, bot right."""

    directory: str = Field(
        default="",
        max_length=1024,
        description="Where the relay writes `<call id>.wav`; empty is no recording.",
    )


class SipGatewaySpec(Document):
    """The gateway as a whole; at most one document."""

    sip: SipListener = SipListener()
    rtp: RtpPorts = RtpPorts()
    advertise: Advertise = Advertise()
    audio: GatewayAudio = GatewayAudio()
    limits: GatewayLimits = GatewayLimits()
    recording: Recording = Recording()


class SipGateway(Document):
    """The gateway as a whole; without one the defaults hold."""

    api_version: Literal["sipgw.io/v1alpha1"]
    kind: Literal["SipGateway"]
    metadata: Metadata
    spec: SipGatewaySpec = SipGatewaySpec()


# --- SipTrunk ---


class SipTrunkSpec(Document):
    """A carrier or PBX."""

    source_cidrs: list[Cidr] = Field(
        default_factory=list,
        max_length=256,
        description="Where its requests come from; the longest match wins. None: any other source.",
    )


class SipTrunk(Document):
    """A carrier or PBX that calls come from."""

    api_version: Literal["sipgw.io/v1alpha1"]
    kind: Literal["SipTrunk"]
    metadata: Metadata
    spec: SipTrunkSpec = SipTrunkSpec()


# --- BotRoute ---


class StringMatch(Document):
    """Exactly one of the three. Compared with case; a regex may begin with (?i)."""

    exact: Text | None = Field(default=None, description="The value is this.")
    prefix: Text | None = Field(default=None, description="The value begins with this.")
    regex: Regex | None = Field(default=None, description="The whole value matches; see Regular expressions.")

    @model_validator(mode="after")
    def _check_one(self) -> StringMatch:
        given = [name for name in ("exact", "prefix", "regex") if getattr(self, name) is not None]
        if len(given) != 1:
            raise refuse(" and ".join(given) or "none of them", "exactly one of exact, prefix, regex")
        return self


class HeaderMatch(Document):
    """A header of the INVITE; of several with the name, one that matches is enough."""

    name: HeaderName = Field(description="The header's name, in any case.")
    value: StringMatch = Field(description="What its value has to be.")


class RouteMatch(Document):
    """Which calls the route takes: all that is given must hold; nothing given is every call."""

    trunks: list[Name] = Field(
        default_factory=list, max_length=64, description="Trunks by name; none is any."
    )
    to: StringMatch | None = Field(
        default=None, description="The called number: the user part of the Request-URI."
    )
    from_: StringMatch | None = Field(
        default=None, alias="from", description="The calling number: the user part of the From header."
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
    """The audio that the bot gets and sends."""

    codec: Literal["PCMU", "PCMA", "PCM16"] = Field(
        default="PCMU", description="PCM16 is linear, little-endian."
    )
    rate_hz: Literal[8000, 16000, 24000, 48000] = Field(
        default=8000, description="Samples a second; PCMU and PCMA: 8000."
    )
    frame_ms: Literal[10, 20, 30, 40, 60] = Field(default=20, description="Length of a chunk.")

    @model_validator(mode="after")
    def _check_rate(self) -> BotAudio:
        if self.codec != "PCM16" and self.rate_hz != 8000:
            raise refuse(f"{self.codec} at {self.rate_hz} Hz", f"{self.codec} at 8000 Hz, or codec PCM16")
        return self


class RouteLimits(Document):
    """How long the gateway waits for a bot."""

    bot_ready_timeout_ms: int = Field(
        default=5000,
        ge=100,
        le=60_000,
        description="From the INVITE to the bot being ready; then noBotStatus.",
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
    """Which calls go to which bot, and how."""

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
    audio: BotAudio = BotAudio()
    headers_to_bot: list[HeaderName] = Field(
        default_factory=list, max_length=32, description="Headers of the INVITE that the bot is told."
    )
    record: bool = Field(
        default=False, description="Record the calls, where the gateway has a recording directory."
    )
    no_bot_status: Literal[480, 503] = Field(
        default=480, description="Answer when no bot is ready: carriers try the next gateway on both."
    )
    limits: RouteLimits = RouteLimits()

    @model_validator(mode="after")
    def _check_weights(self) -> BotRouteSpec:
        if not any(bot.weight for bot in self.bots):
            raise refuse("bots of weight 0 only", "a bot with a weight above 0")
        return self


class BotRoute(Document):
    """Which calls go to which bot, and how."""

    api_version: Literal["sipgw.io/v1alpha1"]
    kind: Literal["BotRoute"]
    metadata: Metadata
    spec: BotRouteSpec


KINDS: dict[str, type[SipGateway | SipTrunk | BotRoute]] = {
    "SipGateway": SipGateway,
    "SipTrunk": SipTrunk,
    "BotRoute": BotRoute,
}
