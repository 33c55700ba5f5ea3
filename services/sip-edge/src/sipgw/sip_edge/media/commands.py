"""Commands to the relay of a call, fenced by its record: generation is the version saved before, with the
owner epoch.
"""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of
from sipgw.sip_edge.media.peers import MediaPeers, is_acknowledged
from sipgw.sip_edge.media.relays import Relays


class MediaCommands:
    """Each command raises RelayRefused or RelayUnreachable."""

    def __init__(self, relays: Relays, peers: MediaPeers) -> None:
        self._relays = relays
        self._peers = peers

    def check(self, session: calls.CallSession, media: relay.MediaSpec) -> None:
        """Raises Rejected(488) for a description of the peer's that names no place media may go to."""
        self._peers.check(session, media)

    def check_new(self, media: relay.MediaSpec, source: str, trunk: config.Trunk | None) -> None:
        """The same for a new call from `source`."""
        self._peers.check_new(media, source, trunk)

    async def allocate(
        self, session: calls.CallSession, spec: relay.Allocate, *, at: calls.MediaAnchor | None = None
    ) -> relay.Allocated:
        """Ports, and the bot stream opened."""
        told = relay.Allocate()
        told.CopyFrom(spec)
        told.media.peer.CopyFrom(self._peers.of(session, spec.media))
        return await self._relays.link(at or session.media).allocate(
            session.call_id, generation=session.version, owner_epoch=session.owner_epoch, spec=told
        )

    async def modify(self, session: calls.CallSession, media: relay.MediaSpec) -> None:
        """New media parameters."""
        told = relay.MediaSpec()
        told.CopyFrom(media)
        told.peer.CopyFrom(self._peers.of(session, media))
        await self._relays.link(session.media).modify(
            session.call_id, generation=session.version, owner_epoch=session.owner_epoch, media=told
        )

    def is_silent(self, session: calls.CallSession) -> bool:
        """Whether nothing is heard of the call's relay now, so that a command would wait in vain."""
        return self._relays.is_silent(identity_of(session.media.relay))

    async def acknowledge(self, session: calls.CallSession) -> None:
        """The caller has our answer: media may go where its last description says."""
        await self._relays.link(session.media).acknowledge(
            session.call_id, generation=session.version, owner_epoch=session.owner_epoch
        )

    async def start(self, session: calls.CallSession) -> None:
        """The call is about to be answered, or goes on here."""
        await self._relays.link(session.media).start(
            session.call_id, generation=session.version, owner_epoch=session.owner_epoch
        )

    async def release(
        self,
        session: calls.CallSession,
        reason: str,
        *,
        at: calls.MediaAnchor | None = None,
        moved: bool = False,
    ) -> None:
        """The session is over; `moved`: there, since another relay has the call."""
        await self._relays.link(at or session.media).release(
            session.call_id,
            generation=session.version,
            owner_epoch=session.owner_epoch,
            reason=reason,
            moved=moved,
        )

    async def adopt(self, session: calls.CallSession) -> None:
        """Its events come to this edge from now on."""
        await self._relays.link(session.media).adopt(
            session.call_id,
            generation=session.version,
            owner_epoch=session.owner_epoch,
            acknowledged=is_acknowledged(session),
        )

    async def inform(self, session: calls.CallSession, inform: relay.Inform) -> None:
        """Something for the bot."""
        await self._relays.link(session.media).inform(
            session.call_id, generation=session.version, owner_epoch=session.owner_epoch, inform=inform
        )
