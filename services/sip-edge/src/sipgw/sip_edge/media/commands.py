"""Send commands to the relay of a call, fenced by its record.

The generation of a command is the record's version that was saved before it; the owner epoch is the record's.
"""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of
from sipgw.sip_edge.media.peers import MediaPeers, is_acknowledged
from sipgw.sip_edge.media.relays import Relays


class MediaCommands:
    """Commands to relays. Each raises RelayRefused or RelayUnreachable."""

    def __init__(self, relays: Relays, peers: MediaPeers) -> None:
        self._relays = relays
        self._peers = peers

    def check(self, record: calls.CallSession, media: relay.MediaSpec) -> None:
        """Check that media may go where the peer's description says. Raises Rejected(488)."""
        self._peers.check(record, media)

    def check_new(self, media: relay.MediaSpec, source: str, trunk: config.Trunk | None) -> None:
        """Check the same for a new call from `source`. Raises Rejected(488)."""
        self._peers.check_new(media, source, trunk)

    async def allocate(
        self, record: calls.CallSession, spec: relay.Allocate, *, at: calls.MediaAnchor | None = None
    ) -> relay.Allocated:
        """Make the session at a relay: it reserves ports and opens the bot's stream."""
        told = relay.Allocate()
        told.CopyFrom(spec)
        told.media.peer.CopyFrom(self._peers.of(record, spec.media))
        return await self._relays.link(at or record.media).allocate(
            record.call_id, generation=record.version, owner_epoch=record.owner_epoch, spec=told
        )

    async def modify(self, record: calls.CallSession, media: relay.MediaSpec) -> None:
        """Change the media parameters of the session."""
        told = relay.MediaSpec()
        told.CopyFrom(media)
        told.peer.CopyFrom(self._peers.of(record, media))
        await self._relays.link(record.media).modify(
            record.call_id, generation=record.version, owner_epoch=record.owner_epoch, media=told
        )

    def is_silent(self, record: calls.CallSession) -> bool:
        """Tell whether the call's relay is silent, so that a command to it would only time out."""
        return self._relays.is_silent(identity_of(record.media.relay))

    async def acknowledge(self, record: calls.CallSession) -> None:
        """Tell the relay that the caller acknowledged our response.

        Media may go where the caller's last description says from now on.
        """
        await self._relays.link(record.media).acknowledge(
            record.call_id, generation=record.version, owner_epoch=record.owner_epoch
        )

    async def start(self, record: calls.CallSession) -> None:
        """Start the session, because the call is about to be answered or goes on at this edge."""
        await self._relays.link(record.media).start(
            record.call_id, generation=record.version, owner_epoch=record.owner_epoch
        )

    async def release(
        self,
        record: calls.CallSession,
        reason: str,
        *,
        at: calls.MediaAnchor | None = None,
        moved: bool = False,
    ) -> None:
        """End the session. `moved`: the call goes on at another relay."""
        await self._relays.link(at or record.media).release(
            record.call_id,
            generation=record.version,
            owner_epoch=record.owner_epoch,
            reason=reason,
            moved=moved,
        )

    async def adopt(self, record: calls.CallSession) -> None:
        """Have the events of the session sent to this edge from now on."""
        await self._relays.link(record.media).adopt(
            record.call_id,
            generation=record.version,
            owner_epoch=record.owner_epoch,
            acknowledged=is_acknowledged(record),
        )

    async def press_key(self, record: calls.CallSession, press: relay.PressKey) -> None:
        """Tell the bot of a key that the caller's signalling named."""
        await self._relays.link(record.media).press_key(
            record.call_id, generation=record.version, owner_epoch=record.owner_epoch, press=press
        )

    async def inform(self, record: calls.CallSession, inform: relay.Inform) -> None:
        """Send the bot a message through the relay."""
        await self._relays.link(record.media).inform(
            record.call_id, generation=record.version, owner_epoch=record.owner_epoch, inform=inform
        )
