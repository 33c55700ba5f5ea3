"""The parts that place calls on relays and command them."""

from collections.abc import Iterable
from dataclasses import dataclass

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.calls import identity_of
from sipgw.runtime.settings import Identity
from sipgw.sip_edge.media.commands import MediaCommands
from sipgw.sip_edge.media.left_sessions import LeftSessions
from sipgw.sip_edge.media.placement import Placements
from sipgw.sip_edge.media.relays import Relays


@dataclass(frozen=True, slots=True)
class MediaPlane:
    """The relays, and the parts that act on them."""

    relays: Relays
    placements: Placements
    commands: MediaCommands
    left_sessions: LeftSessions
    """Relay sessions whose call has moved away."""


def relays_in_use(owned: Iterable[calls.CallSession], left_sessions: LeftSessions) -> set[Identity]:
    """Give the relays that calls of this edge are on, are moving to, or left a session on."""
    anchors = (anchor for one in owned for anchor in (one.media, one.move.target, one.move.left))
    used = {identity_of(anchor.relay) for anchor in anchors if anchor.relay.incarnation}
    return used | left_sessions.relays
