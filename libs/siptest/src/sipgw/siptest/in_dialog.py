"""The phone's responses to the peer's requests within a call."""

from sipgw.sdp import SdpError
from sipgw.sip import OutOfOrder, RequestReceived, SipRequest, SipResponse, make_response
from sipgw.siptest.call import CallEnd, EndedBy, PhoneCall
from sipgw.siptest.negotiation import CONTENT_TYPE

ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, NOTIFY, REFER"
_TAKEN_NOTE_OF = {"OPTIONS", "INFO", "NOTIFY", "MESSAGE"}


def answer_within(call: PhoneCall, received: RequestReceived) -> SipResponse:
    """Return the response to a request of the peer's dialog, after its effect on the call."""
    request = received.request
    call.requests.append(request)
    try:
        call.session.dialog = call.session.live.receive(request)
    except OutOfOrder:
        return make_response(request, 500)
    match request.method:
        case "BYE":
            call.finish(CallEnd(EndedBy.PEER, request.headers.get("Reason") or ""))
            return make_response(request, 200)
        case "INVITE" | "UPDATE":
            return _renegotiate(call, request)
        case "REFER":
            return make_response(request, 202)
        case method if method in _TAKEN_NOTE_OF:
            return make_response(request, 200)
        case _:
            return make_response(request, 405, headers=[("Allow", ALLOW)])


def _renegotiate(call: PhoneCall, request: SipRequest) -> SipResponse:
    contact = call.session.contact
    if not request.body and request.method == "UPDATE":
        return make_response(request, 200, contact=contact)
    try:
        if request.body:
            body, media = call.negotiation.answer(request.body)
            call.has_media(media)
        else:
            body = call.negotiation.offer()
    except SdpError as error:
        return make_response(request, error.sip_status)
    return make_response(request, 200, contact=contact, body=body, content_type=CONTENT_TYPE)
