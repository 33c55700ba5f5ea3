"""RelaySettings: what the flags of the relay process say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sipgw.api.config.v1 import config_pb2
    from sipgw.runtime.tls import TlsDirectory

_DEADLINE_S: Final = 60.0
"""Until a config says another."""
_PATIENT_SHARE: Final = 0.5
"""Of the time that a stopping relay has, in which calls wait for a pause."""


@dataclass(frozen=True, slots=True)
class DrainTimes:
    """How long a drain may take, in seconds."""

    most_s: float
    """What the process has after SIGTERM."""
    deadline_s: float = _DEADLINE_S
    """After it calls leave in mid-word too."""
    has_own_deadline: bool = False
    """A flag's, which stands above the config's."""

    def following(self, gateway: config_pb2.GatewaySettings) -> DrainTimes:
        """These with the config's deadline and grace. No config stretches what the process has."""
        most_s, deadline_s = self.most_s, self.deadline_s
        if gateway.HasField("drain_grace_seconds"):
            most_s = min(most_s, gateway.drain_grace_seconds)
        if gateway.HasField("drain_deadline_seconds") and not self.has_own_deadline:
            deadline_s = gateway.drain_deadline_seconds
        return DrainTimes(most_s, deadline_s, self.has_own_deadline)

    @property
    def stopping_deadline_s(self) -> float:
        """The deadline at SIGTERM: half of the time at most, so that a call may be asked about again."""
        return min(self.deadline_s, self.most_s * _PATIENT_SHARE)


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What the flags say."""

    name: str
    listen: str
    bind: str
    advertise: str
    first_port: int
    last_port: int
    registry: str
    """Empty: none (a relay under test)."""
    admin: str
    ordinal: int
    lane: int
    capacity: int
    revision: str
    drain: DrainTimes
    media_timeout_s: float
    health: str = ""
    tls: TlsDirectory | None = None
    node: str = ""
