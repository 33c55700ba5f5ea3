"""Collect facts about a call's media peer from signalling and trunk, for the relay that applies the rules.

Only the edge reads SIP and SDP. The rules are in `sipgw.rtp`: which source is accepted as the caller's
(`source_latch`), and where media may go (`media_destination`).
"""

import ipaddress
from functools import lru_cache
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.rtp.media_destination import DestinationRules, HostKind, is_forbidden, kind_of
from sipgw.rtp.source_latch import Source, canonical_host
from sipgw.sip import SipParseError, SipUri, Via, parse_uri
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.media import sdp_exchange
from sipgw.sip_edge.media.relay_map import RelayMap

_LEAST_PREFIX: Final = {4: 8, 6: 16}
"""The shortest prefix of a trusted network: a wider one could contain anybody."""
_NOT_ACCEPTABLE: Final = 488


class MediaPeers:
    """Give the peer facts for each description that a relay gets."""

    def __init__(self, gateway: ConfigHolder, relays: RelayMap) -> None:
        self._gateway = gateway
        self._relays = relays

    def of(self, record: calls.CallSession, media: relay.MediaSpec) -> relay.MediaPeer:
        """Give the facts that belong to `media`, from the record as it stands."""
        trunk = self._gateway.trunk(record.trunk)
        leg = record.legs[0]
        source = leg.invite.source.address
        return relay.MediaPeer(
            signalling_address=source,
            symmetric=trunk.media.symmetric if trunk is not None else config.SYMMETRIC_MEDIA_AUTO,
            behind_nat=is_behind_nat(leg, media.remote_address),
            networks=trunk.media.networks if trunk is not None else (),
            trusted=trunk is not None and is_trusted(trunk, source),
            acknowledged=is_acknowledged(record),
        )

    def check(self, record: calls.CallSession, media: relay.MediaSpec) -> None:
        """Check that media can ever go where the description says, or to the caller's source.

        Raises Rejected(488).
        """
        source = record.legs[0].invite.source.address
        self.check_new(media, source, self._gateway.trunk(record.trunk))

    def check_new(self, media: relay.MediaSpec, source: str, trunk: config.Trunk | None) -> None:
        """Check the same for a call that has no record yet. Raises Rejected(488)."""
        if not media.remote_address:  # hold by 0.0.0.0, or a name: nothing is sent before a latch
            return
        destination = Source(canonical_host(media.remote_address), media.remote_rtp_port)
        if self._relays.has(*destination) or is_hopeless(destination, source, trunk):
            text = f"No media is sent to {destination.host} port {destination.port}"
            raise Rejected(_NOT_ACCEPTABLE, text, headers=(("Warning", f'399 sipgw "{text}"'),), detail=text)


def is_hopeless(destination: Source, source: str, trunk: config.Trunk | None) -> bool:
    """Tell whether media can go neither to the described destination nor to the caller's source.

    An address that is forbidden only in this call (one of this machine, outside of the trunk's networks) is
    no reason to refuse the call as long as the relay may latch to another source.
    """
    if kind_of(destination.host) is HostKind.UNSENDABLE:
        return True
    if trunk is None or trunk.media.symmetric != config.SYMMETRIC_MEDIA_OFF:
        return False
    networks = tuple(map(ipaddress.ip_network, trunk.media.networks))
    return is_forbidden(destination, DestinationRules(canonical_host(source), networks), _NOWHERE)


def wants_acknowledgement(record: calls.CallSession) -> bool:
    """Tell whether the relay may hold the bot's voice until the ACK; never for the signalling host."""
    leg = record.legs[0]
    named = sdp_exchange.named_addresses(leg.remote_sdp)
    return any(canonical_host(host) != canonical_host(leg.invite.source.address) for host in named)


def is_acknowledged(record: calls.CallSession) -> bool:
    """Tell whether the caller has acknowledged our response to its last description."""
    return record.state == calls.CALL_STATE_ESTABLISHED and record.legs[0].invite.ack_seen


def is_behind_nat(leg: calls.Leg, remote_address: str) -> bool:
    """Tell whether the caller names private addresses other than its source.

    They stand in SDP, Contact, or Via's sent-by.
    """
    source = canonical_host(leg.invite.source.address)
    for named in (remote_address, _contact_host(leg.dialog.remote_target)):
        host = canonical_host(named)
        if host != source and kind_of(host) is HostKind.PRIVATE:
            return True
    sent_by = _sent_by(leg.invite.top_via)
    return bool(sent_by) and canonical_host(sent_by) != source


def is_trusted(trunk: config.Trunk, source: str) -> bool:
    """Tell whether the trunk authenticates its callers: by password, or by a narrow enough network."""
    if trunk.HasField("digest"):
        return True
    try:
        address = ipaddress.ip_address(canonical_host(source))
    except ValueError:
        return False
    networks = (_network(cidr) for cidr in trunk.source_cidrs)
    return any(
        address in network and network.prefixlen >= _LEAST_PREFIX[network.version] for network in networks
    )


class _NoMachine:
    """Stands for the relay's own addresses, which only the relay knows."""

    def is_own(self, host: str) -> bool:
        del host
        return False

    def is_broadcast(self, host: str) -> bool:
        del host
        return False

    def is_relay_port(self, port: int) -> bool:
        del port
        return False


_NOWHERE: Final = _NoMachine()


@lru_cache(maxsize=1024)
def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(cidr)


def _contact_host(uri: str) -> str:
    try:
        parsed = parse_uri(uri)
    except SipParseError:
        return ""
    return parsed.host.strip("[]") if isinstance(parsed, SipUri) else ""


def _sent_by(via: str) -> str:
    try:
        return Via.parse(via).host
    except SipParseError:
        return ""
