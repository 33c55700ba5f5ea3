"""SipGateway: the gateway as a whole."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sipgw.config.document import Document, KubernetesProperty, Metadata, Rule, refuse, rules
from sipgw.config.scalars import Address, NodeName, Port

MAX_NODES = 1024


class SipListener(Document):
    """Where `sipgw up` listens. In a cluster the chart's values decide."""

    bind_address: Address = Field(default="0.0.0.0", description="Address that SIP is received on.")
    port: Port = Field(default=5060, description="UDP port that SIP is received on.")


class RtpPorts(Document):
    """Ports for media under `sipgw up`. In a cluster the chart's values decide."""

    model_config = rules(Rule("self.lastPort > self.firstPort", "a lastPort above firstPort"))

    first_port: Port = Field(
        default=20000, description="First UDP port for media; RTP uses even ports, RTCP odd ones."
    )
    last_port: Port = Field(default=22399, description="Last UDP port for media; a call uses two.")

    @model_validator(mode="after")
    def _check_range(self) -> "RtpPorts":
        if self.last_port <= self.first_port:
            raise refuse(f"{self.first_port} to {self.last_port}", "a lastPort above firstPort")
        return self


class Advertise(Document):
    """The addresses that peers are told to send to."""

    address: Address | None = Field(
        default=None,
        description="Address that `sipgw up` tells every peer; default: the local address towards the peer.",
    )
    policy: Literal["HostIP", "ExternalIP"] = Field(
        default="HostIP", description="In a cluster: which address of the node is told to peers."
    )
    nodes: Annotated[
        dict[NodeName, Address],
        Rule("self.all(name, size(name) >= 1 && size(name) <= 253)", "names of nodes"),
    ] = Field(
        default_factory=dict,
        max_length=MAX_NODES,
        description="In a cluster: addresses to tell peers, by node name; they take precedence over policy.",
    )


class GatewayAudio(Document):
    """The codecs and formats negotiated with telephones."""

    codecs: Annotated[list[Literal["PCMU", "PCMA"]], KubernetesProperty("list-type", "set")] = Field(
        default=["PCMU", "PCMA"],
        min_length=1,
        max_length=2,
        description="Codecs accepted, in the order of our offers; answers keep the caller's order.",
    )
    ptime_ms: Literal[10, 20, 30, 40, 60] = Field(
        default=20, description="Packet length in milliseconds if the peer asks for none."
    )

    @model_validator(mode="after")
    def _check_twice(self) -> "GatewayAudio":
        if len(set(self.codecs)) < len(self.codecs):
            raise refuse(f"codecs {self.codecs}", "each codec once")
        return self


class GatewayLimits(Document):
    """Limits on the calls of the gateway."""

    max_calls: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Most calls at once; 0 means no limit. Further calls get 503.",
    )
    max_call_seconds: int = Field(
        default=0, ge=0, le=604_800, description="Longest duration of a call; 0 means no limit."
    )


class Recording(Document):
    """Stereo WAV of the calls of routes with `record: true`: caller left, bot right."""

    directory: str = Field(
        default="",
        max_length=1024,
        description=(
            "Where the relay writes `<call id>.wav` (in a cluster: a volume of the chart's "
            "`relay.extraVolumes`); empty is no recording."
        ),
    )


class Autoscaling(Document):
    """In a cluster: the number of relays. `sipgw up` starts as many as its option says."""

    model_config = rules(Rule("self.maxRelays >= self.minRelays", "a maxRelays of at least minRelays"))

    min_relays: int = Field(
        default=2, ge=1, le=1000, description="Smallest number of relays, whatever the load."
    )
    max_relays: int = Field(
        default=64, ge=1, le=1000, description="Largest number of relays; when they are full, calls get 503."
    )
    target_utilization_percent: int = Field(
        default=70, ge=10, le=95, description="Share of the relays' capacity that calls should use."
    )
    warm_relays: int = Field(
        default=1, ge=0, le=100, description="Relays kept in addition, for bursts of calls."
    )
    lookahead_seconds: int = Field(
        default=60, ge=0, le=3600, description="How far ahead the operator plans for the growth in calls."
    )
    scale_in_after_seconds: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="How long fewer relays must have been enough before one is removed.",
    )

    @model_validator(mode="after")
    def _check_bounds(self) -> "Autoscaling":
        if self.max_relays < self.min_relays:
            found = f"minRelays {self.min_relays}, maxRelays {self.max_relays}"
            raise refuse(found, "a maxRelays of at least minRelays")
        return self


class Drain(Document):
    """In a cluster: how a relay that ends hands its calls to others."""

    model_config = rules(
        Rule("self.graceSeconds >= self.deadlineSeconds", "graceSeconds of at least deadlineSeconds")
    )

    deadline_seconds: int = Field(
        default=60,
        ge=0,
        le=3600,
        description="A call moves at the next pause in speech, or after this time at the latest.",
    )
    grace_seconds: int = Field(
        default=600, ge=0, le=86_400, description="How long calls that can't be moved may go on."
    )

    @model_validator(mode="after")
    def _check_order(self) -> "Drain":
        if self.grace_seconds < self.deadline_seconds:
            found = f"deadlineSeconds {self.deadline_seconds}, graceSeconds {self.grace_seconds}"
            raise refuse(found, "graceSeconds of at least deadlineSeconds")
        return self


class SipGatewaySpec(Document):
    """The gateway as a whole; at most one document."""

    sip: SipListener = SipListener()
    rtp: RtpPorts = RtpPorts()
    advertise: Advertise = Advertise()
    audio: GatewayAudio = GatewayAudio()
    limits: GatewayLimits = GatewayLimits()
    recording: Recording = Recording()
    autoscaling: Autoscaling = Autoscaling()
    drain: Drain = Drain()


class SipGateway(Document):
    """The gateway as a whole; without one the defaults hold."""

    api_version: Literal["sipgw.io/v1alpha1"]
    kind: Literal["SipGateway"]
    metadata: Metadata
    spec: SipGatewaySpec = SipGatewaySpec()
