"""The flags of the edge, and the times that it keeps."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sipgw.runtime.settings import HostPort, Identity
from sipgw.runtime.tls import TlsDirectory
from sipgw.sip import TimerValues
from sipgw.sip_edge.limits import EdgeLimits


@dataclass(frozen=True, slots=True)
class EdgeTimes:
    """Times in seconds. Tests set shorter ones."""

    sip: TimerValues = field(default_factory=TimerValues)
    retry_after_s: int = 2
    """Retry-After in 503 and 500: how soon a caller may try again."""
    bot_ready_grace_s: float = 2.0
    """How much longer than the route's own limit the edge waits for a relay to report that no bot came."""
    transfer_s: float = 60.0
    """How long the outcome of a transfer is awaited."""
    shutdown_s: float = 8.0
    """How long the edge takes to end its calls before the process exits without them."""
    hand_over_s: float = 3.0
    """How long the edge finishes transactions before it leaves its calls to the other edges."""
    last_responses_s: float = 0.5
    """How long the last requests may take to get responses, after the calls were left to the other edges."""
    reconcile_s: float = 5.0
    """How often the calls owned by the record are compared with the calls served."""
    relay_poll_s: float = 0.5
    """How often the registry is asked about a silent relay."""
    relay_silent_s: float = 0.8
    """Calls leave a relay that has been silent for so long; it returns five pings a second."""
    edge_silent_s: float = 0.8
    """When another edge has returned no ping for so long, its calls whose relay is silent too are claimed."""
    move_hold_off_s: float = 10.0
    """For so long after a move a call moves again only if its relay is gone, not if it is silent."""
    registry_away_s: float = 4.0
    """How long a new call waits for a registry that does not respond, before it gets 503."""
    relay_lost_s: float = 8.0
    """How long a call whose relay is lost waits for room elsewhere before it ends."""
    reinvite_s: float = 8.0
    """How long the edge waits for the caller's response to a re-INVITE before it sends CANCEL."""
    delivered_response_s: float = 0.25


class OnStop(StrEnum):
    """The meaning of SIGTERM for the calls of this edge."""

    END = "end"
    """The gateway stops: send BYE to every caller."""
    HAND_OVER = "hand-over"
    """Only this edge stops: other edges, or its successor, go on with its calls."""


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """The flags of `sipgw-edge`."""

    identity: Identity
    sip: HostPort
    advertise_host: str
    advertise_port: int
    """0: the bound port."""
    listen: str
    registry: str
    redis_url: str
    admin: HostPort | None = None
    health: HostPort | None = None
    tls: TlsDirectory | None = None
    node: str = ""
    """The Kubernetes node: its entry in the config's advertised addresses replaces `advertise_host`."""
    on_stop: OnStop = OnStop.END
    seal_key_file: Path | None = None
    """File with the key that unseals trunks' passwords."""
    trusted: tuple[str, ...] = ()
    """Networks whose sources are never banned, besides those of trunks."""
    times: EdgeTimes = EdgeTimes()
    limits: EdgeLimits = field(default_factory=EdgeLimits)
