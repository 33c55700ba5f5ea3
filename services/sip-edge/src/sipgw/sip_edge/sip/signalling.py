"""The parts that send SIP messages."""

from dataclasses import dataclass

from sipgw.sip_edge.sip.dialogs import DialogRequests, LocalContact
from sipgw.sip_edge.sip.invite_responses import InviteResponses
from sipgw.sip_edge.sip.second_way import SecondWay
from sipgw.sip_edge.sip.server import SipServer


@dataclass(frozen=True, slots=True)
class Signalling:
    """The server, and the parts that send through it."""

    sip: SipServer
    responses: InviteResponses
    """Sends responses to INVITEs, and repeats a 2xx until its ACK."""
    requests: DialogRequests
    """Sends our requests within calls."""
    ways: SecondWay
    """Sends INVITEs of ours by one way or two."""
    local: LocalContact
    """The address at which peers reach this edge."""
