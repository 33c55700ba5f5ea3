"""RelaySettings: the values of the relay process's flags."""

from dataclasses import dataclass
from typing import Final

from sipgw.api.config.v1 import config_pb2
from sipgw.runtime.tls import TlsDirectory

_DEADLINE_S: Final = 60.0
"""The deadline until the config sets another."""
_PATIENT_SHARE: Final = 0.5
"""The share of a stopping relay's time in which calls wait for a pause in speech."""


@dataclass(frozen=True, slots=True)
class DrainTimes:
    """How long a drain may take, in seconds."""

    most_s: float
    """How long the process has after SIGTERM."""
    deadline_s: float = _DEADLINE_S
    """After this, calls leave in mid-word too."""
    has_own_deadline: bool = False
    """Whether a flag set the deadline. A flag overrides the config."""

    def following(self, gateway: config_pb2.GatewaySettings) -> "DrainTimes":
        """Return these times with the config's deadline and grace.

        The config can't lengthen the process's time.
        """
        most_s, deadline_s = self.most_s, self.deadline_s
        if gateway.HasField("drain_grace_seconds"):
            most_s = min(most_s, gateway.drain_grace_seconds)
        if gateway.HasField("drain_deadline_seconds") and not self.has_own_deadline:
            deadline_s = gateway.drain_deadline_seconds
        return DrainTimes(most_s, deadline_s, self.has_own_deadline)

    @property
    def stopping_deadline_s(self) -> float:
        """The deadline at SIGTERM: at most half of the time, so that a call can be asked about again."""
        return min(self.deadline_s, self.most_s * _PATIENT_SHARE)


@dataclass(frozen=True, slots=True)
class RelayIdentity:
    """The identity of this relay within the gateway."""

    name: str
    ordinal: int = 0
    lane: int = 0
    revision: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class RtpSettings:
    """The addresses and ports of RTP. The range includes `last_port`."""

    bind: str
    advertise: str
    first_port: int
    last_port: int

    @property
    def pairs(self) -> int:
        """How many pairs of ports the range has."""
        return (self.last_port - self.first_port + 1) // 2


@dataclass(frozen=True, slots=True)
class RelayEndpoints:
    """Where the relay listens and registers, each "host:port", and by which certificates."""

    listen: str
    registry: str = ""
    """Empty: the relay registers nowhere (a relay under test)."""
    admin: str = ""
    health: str = ""
    tls: TlsDirectory | None = None


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """The flags of the relay process."""

    identity: RelayIdentity
    endpoints: RelayEndpoints
    rtp: RtpSettings
    drain: DrainTimes
    capacity: int
    """Cost units; 0: one for each pair of ports."""
    media_timeout_s: float
