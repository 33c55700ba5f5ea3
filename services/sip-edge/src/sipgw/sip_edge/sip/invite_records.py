"""The part of an INVITE in the record, by which another edge can serve its retransmission, ACK or CANCEL."""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip import Address, RequestReceived, SipParseError, SipResponse, parse_message


def invite_record(event: RequestReceived) -> calls.InviteState:
    """Make the record of a received INVITE."""
    request = event.request
    return calls.InviteState(
        cseq=request.cseq.number,
        branch=request.via.branch or "",
        top_via=str(request.via),
        source=endpoint_of(event.source),
        received_on=endpoint_of(event.received_on),
        request_uri=str(request.uri),
    )


def address_of(endpoint: calls.Endpoint) -> Address:
    """Read a transport address from a record."""
    return Address(endpoint.transport or "UDP", endpoint.address, endpoint.port)


def contact_of_peer(leg: calls.Leg) -> str:
    """Give the URI of our Contact that the peer has; "": unknown.

    Records of older releases have it in the last 2xx only.
    """
    if leg.local_target or not leg.invite.last_final:
        return leg.local_target
    try:
        message = parse_message(leg.invite.last_final)
    except SipParseError:
        return ""
    is_response = isinstance(message, SipResponse) and message.contact is not None
    return str(message.contact.uri) if is_response and message.contact is not None else ""


def endpoint_of(address: Address | None) -> calls.Endpoint:
    """Make the record of a transport address."""
    if address is None:
        return calls.Endpoint()
    return calls.Endpoint(transport=address.transport, address=address.host, port=address.port)
