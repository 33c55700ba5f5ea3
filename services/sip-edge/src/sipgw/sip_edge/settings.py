"""What this edge is told by its flags, and the times it keeps."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sipgw.runtime.settings import HostPort, Identity
from sipgw.runtime.tls import TlsDirectory
from sipgw.sip import TimerValues
from sipgw.sip_edge.limits import EdgeLimits


@dataclass(frozen=True, slots=True)
class EdgeTimes:
    """Seconds. Tests bring shorter ones."""

    sip: TimerValues = field(default_factory=TimerValues)
    retry_after_s: int = 2
    """In 503 and 500: how soon a caller may try again."""
    bot_ready_grace_s: float = 2.0
    """How long past the route's own limit the relay may take to say that no bot came."""
    transfer_s: float = 60.0
    """How long a transfer's outcome is awaited."""
    shutdown_s: float = 8.0
    """All calls of this edge have ended by then, or the process ends without them."""
    hand_over_s: float = 3.0
    """What is under way has been finished by then, or is left to the other edges as it is."""
    last_responses_s: float = 0.5
    """For the answers to the last requests, when the calls are the others' already."""
    reconcile_s: float = 5.0
    """How often the calls owned by the record are compared with the calls served."""
    relay_poll_s: float = 0.5
    """How often the registry is asked about a relay that says nothing."""
    relay_silent_s: float = 0.8
    """Calls leave a relay that has said nothing for so long; its streams answer pings five times a second."""
    edge_silent_s: float = 0.8
    """After so long without an answer from another edge, its calls whose relay is silent too are claimed."""
    move_hold_off_s: float = 10.0
    """For so long after a move a call is moved again only when its relay is gone, not when it is silent."""
    registry_away_s: float = 4.0
    """How long a new call waits for a registry that gives no answer, before its 503."""
    relay_lost_s: float = 8.0
    """How long a call whose relay is lost waits for room elsewhere before it ends."""
    reinvite_s: float = 8.0
    """How long a caller may think about our re-INVITE before we CANCEL it."""
    delivered_response_s: float = 0.25


class OnStop(StrEnum):
    """What SIGTERM means for the calls of this edge."""

    END = "end"
    """The gateway ends: BYE to every caller."""
    HAND_OVER = "hand-over"
    """This edge ends: the others, or the next one, go on with its calls."""


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Flags of `sipgw-edge`."""

    identity: Identity
    sip: HostPort
    advertise_host: str
    advertise_port: int
    """0: the port really bound."""
    listen: str
    registry: str
    redis_url: str
    admin: HostPort | None = None
    health: HostPort | None = None
    tls: TlsDirectory | None = None
    node: str = ""
    """Of Kubernetes: its entry among the config's advertised addresses stands above `advertise_host`."""
    on_stop: OnStop = OnStop.END
    seal_key_file: Path | None = None
    """Unseals the passwords of trunks."""
    trusted: tuple[str, ...] = ()
    """Networks whose sources are never banned, besides those of trunks."""
    times: EdgeTimes = EdgeTimes()
    limits: EdgeLimits = field(default_factory=EdgeLimits)
