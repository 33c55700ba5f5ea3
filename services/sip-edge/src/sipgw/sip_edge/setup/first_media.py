"""The media of a call before its answer: the INVITE's wishes, and our first description."""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.sdp import MediaCapabilities
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.media.commands import MediaCommands


class FirstMedia:
    """Negotiates the media of new calls by the config in force."""

    def __init__(self, gateway: ConfigHolder, commands: MediaCommands) -> None:
        self._gateway = gateway
        self._media = commands

    def wanted(self, offer: bytes, source: str, trunk: config.Trunk | None) -> relay.MediaSpec:
        """Give the media that an INVITE from `source` asks for.

        Raises Rejected for media that cannot be served.
        """
        media = _media_wanted(offer, self._gateway.capabilities)
        self._media.check_new(media, source, trunk)
        return media

    def of(self, live: LiveCall, record: calls.CallSession) -> relay.MediaSpec:
        """Give the media that the INVITE asked for.

        It is read from the record if another edge received the INVITE.
        """
        return live.media or _media_wanted(record.legs[0].remote_sdp, self._gateway.capabilities)

    def describe(self, record: calls.CallSession, anchor: calls.MediaAnchor) -> bytes:
        """Give our answer to the caller's offer, or our offer, with the ports of `anchor`."""
        placed = calls.CallSession(call_id=record.call_id, media=anchor)
        offer = record.legs[0].remote_sdp
        if not offer:
            return sdp_exchange.offer_with(self._gateway.capabilities, placed, 1).sdp
        read = sdp_exchange.read_offer(offer)
        return sdp_exchange.answer_with(read, self._gateway.capabilities, placed, 1).sdp


def _media_wanted(remote_sdp: bytes, capabilities: MediaCapabilities) -> relay.MediaSpec:
    """Give the media that a relay is to carry: that of the caller's offer, or of ours if the INVITE has none.

    Raises Rejected.
    """
    if not remote_sdp:
        return sdp_exchange.offered_media(capabilities)
    return sdp_exchange.negotiate(sdp_exchange.read_offer(remote_sdp), capabilities)
