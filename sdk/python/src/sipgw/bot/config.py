"""The facts of a call, from the wire's Config, and formats from and to the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import AudioFormat, Codec

# The features of this SDK, sent as `sipgw-features` and in Hello. They declare the bot
# (docs/explanation/bot-protocol.md).
FEATURES = (
    "accept",
    "clear",
    "hold",
    "mark",
    "played",
    "replay",
    "resume",
    "send_dtmf",
    "transfer_outcome",
)
FEATURES_METADATA = ("sipgw-features", ",".join(FEATURES))

_CODECS = {pb.PCMU: Codec.PCMU, pb.PCMA: Codec.PCMA, pb.PCM16: Codec.PCM16}
_WIRE_CODECS = {codec: number for number, codec in _CODECS.items()}
_DEFAULT_RATE_HZ = 8000
_DEFAULT_FRAME_MS = 20


@dataclass(frozen=True, slots=True)
class CallConfig:
    """The facts of a call: caller, called number, and the audio format of the gateway."""

    call_id: str
    wire_format: AudioFormat
    from_: str = ""
    to: str = ""
    route: str = ""
    trunk: str = ""
    from_parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parameters of the caller's number, such as `verstat`; "" for a parameter without a value."""
    to_parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parameters of the called number, such as `npdi` and `rn`."""
    sip_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    resume_token: str = ""
    epoch: int = 0
    resumed: bool = False
    features: frozenset[str] = frozenset()
    """The features of the gateway."""
    traceparent: str = ""
    """W3C trace context of the call."""

    @property
    def can_be_resumed(self) -> bool:
        """Whether the gateway continues the call on a later stream if this one breaks."""
        return bool(self.resume_token) and "resume" in self.features

    @classmethod
    def from_wire(cls, call_id: str, config: pb.Config, *, traceparent: str = "") -> "CallConfig":
        """Read a Config. Absent fields mean what they meant to the oldest bots: PCMU, 8 kHz, 20 ms."""
        return cls(
            call_id=call_id,
            wire_format=AudioFormat(
                _CODECS.get(config.codec, Codec.PCMU),
                config.sample_rate or _DEFAULT_RATE_HZ,
                config.frame_ms or _DEFAULT_FRAME_MS,
            ),
            from_=getattr(config, "from"),
            to=config.to,
            route=config.route,
            trunk=config.trunk,
            from_parameters=dict(config.from_parameters),
            to_parameters=dict(config.to_parameters),
            sip_headers=dict(config.sip_headers),
            resume_token=config.resume_token,
            epoch=config.epoch,
            resumed=config.resumed,
            features=frozenset(config.features),
            traceparent=traceparent,
        )

    def to_wire(self) -> pb.Config:
        """Return the Config that a gateway would send; used by the test kit."""
        return pb.Config(
            sample_rate=self.wire_format.rate_hz,
            codec=_WIRE_CODECS[self.wire_format.codec],
            frame_ms=self.wire_format.frame_ms,
            to=self.to,
            route=self.route,
            trunk=self.trunk,
            from_parameters=self.from_parameters,
            to_parameters=self.to_parameters,
            sip_headers=self.sip_headers,
            resume_token=self.resume_token,
            epoch=self.epoch,
            resumed=self.resumed,
            features=sorted(self.features),
            **{"from": self.from_},
        )
