"""What a part needs to place calls on relays and to command them."""

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
    """The relays, and what acts on them."""

    relays: Relays
    placements: Placements
    commands: MediaCommands
    left_sessions: LeftSessions
    """Sessions on relays that their calls have left."""


def relays_in_use(owned: Iterable[calls.CallSession], left_sessions: LeftSessions) -> set[Identity]:
    """The relays that calls of this edge are on, move to, or have left a session on."""
    anchors = (anchor for one in owned for anchor in (one.media, one.move.target, one.move.left))
    used = {identity_of(anchor.relay) for anchor in anchors if anchor.relay.incarnation}
    return used | left_sessions.relays
