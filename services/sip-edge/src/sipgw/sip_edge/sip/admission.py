"""Checks of a request before it is served (RFC 3261 §8.2), and the further checks of a new call."""

from typing import Final

from sipgw.sip import SipRequest, SipResponse, SipUri, UasCapabilities, inspect_request, make_response
from sipgw.sip_edge.errors import Rejected

SDP_TYPE: Final = "application/sdp"
CAPABILITIES: Final = UasCapabilities(
    methods=("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE", "INFO", "NOTIFY"),
    uri_schemes=("sip", "sips", "tel"),
)
ALLOW: Final = ("Allow", ", ".join(CAPABILITIES.methods))
ACCEPT: Final = ("Accept", ", ".join(CAPABILITIES.content_types))
ACCEPT_IN_INFO: Final = ("Accept", "application/dtmf-relay, application/dtmf")
ACCEPT_ENCODING: Final = ("Accept-Encoding", "identity")
OPTIONS_HEADERS: Final = (ALLOW, ACCEPT, ACCEPT_ENCODING, ("Supported", ""))
"""The headers of a 200 to OPTIONS, which say what this gateway supports (RFC 3261 §11.2)."""


def refusal_of(request: SipRequest, to_tag: str) -> SipResponse | None:
    """Make the response that refuses a request, in a dialog or not; None: the request may be served.

    A PRACK gets 481, since none of our provisional responses is reliable (RFC 3262 §3).
    """
    if request.method == "PRACK":
        return make_response(request, 481, to_tag=to_tag)
    return inspect_request(request, CAPABILITIES, to_tag=to_tag)


def check_new_call(request: SipRequest) -> None:
    """Check that a dialog-creating INVITE has one SIP URI to send our requests to.

    That is its Contact (RFC 3261 §8.1.1.8), or the From of a peer that knows no Contact. Such a peer has no
    From tag either, and its tag is null (RFC 3261 §12.1.1). Raises Rejected.
    """
    if request.max_forwards == 0:
        raise Rejected(483)
    targets = request.contacts or (request.from_,)
    if len(targets) != 1 or not isinstance(targets[0].uri, SipUri):
        raise Rejected(400, "One SIP Contact Wanted")
