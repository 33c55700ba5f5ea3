"""What a part needs to send SIP messages."""

from dataclasses import dataclass

from sipgw.sip_edge.sip.dialogs import DialogRequests, LocalContact
from sipgw.sip_edge.sip.invite_responses import InviteResponses
from sipgw.sip_edge.sip.server import SipServer


@dataclass(frozen=True, slots=True)
class Signalling:
    """The server, and what sends through it."""

    sip: SipServer
    responses: InviteResponses
    """Final responses to INVITEs, sent until their ACK."""
    requests: DialogRequests
    """Requests of ours within calls."""
    local: LocalContact
    """The address that peers reach this edge at."""
