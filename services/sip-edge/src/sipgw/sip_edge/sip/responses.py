"""Make responses to a request at hand, and to an INVITE known only from its record (RFC 3261 §8.2.6).

Every response to an INVITE repeats the same header fields (Via, From, To, Call-ID, CSeq, Record-Route). The
record keeps the bytes of the last response, so that any edge can build the next one.
"""

import secrets
from dataclasses import dataclass

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip import (
    Headers,
    SipRequest,
    SipResponse,
    make_response,
    parse_message,
    reason_phrase,
    tagged_to,
)
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.sip.admission import ALLOW, SDP_TYPE

_REPEATED = ("Via", "From", "To", "Call-ID", "CSeq", "Record-Route")
HeaderFields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class InviteResponseTemplate:
    """Build the responses to one INVITE from an earlier response to it."""

    response: SipResponse
    local_tag: str
    contact: str

    @classmethod
    def to_request(cls, request: SipRequest, local_tag: str, contact: str) -> "InviteResponseTemplate":
        """Make the template for an INVITE at hand."""
        trying = make_response(request, 100)
        if not trying.headers.get_all("Record-Route"):
            for value in request.headers.get_all("Record-Route"):
                trying.headers.add("Record-Route", value)
        return cls(trying, local_tag, contact)

    @classmethod
    def from_record(cls, leg: calls.Leg, contact: str) -> "InviteResponseTemplate | None":
        """Make the template for an INVITE that another edge received.

        None: the record has no response yet.
        """
        data = leg.invite.last_final or leg.invite.last_provisional
        message = parse_message(data) if data else None
        if not isinstance(message, SipResponse):
            return None
        return cls(message, leg.dialog.local_tag, contact)

    def build(
        self, status: int, reason: str | None = None, *, headers: HeaderFields = (), body: bytes = b""
    ) -> SipResponse:
        """Build a response with our tag; 1xx above 100 and 2xx get our Contact, an SDP body its type."""
        fields = Headers()
        for name in _REPEATED:
            for value in self.response.headers.get_all(name):
                fields.add(name, value)
        if status > 100 and self.response.to.tag is None:
            fields.set("To", tagged_to(self.response, self.local_tag))
        if 100 < status < 300:
            fields.add("Contact", self.contact)
        if 200 <= status < 300:
            fields.add(*ALLOW)
        for name, value in headers:
            fields.add(name, value)
        if body:
            fields.add("Content-Type", SDP_TYPE)
        return SipResponse(status, reason or reason_phrase(status), fields, body)


def response_to(
    request: SipRequest,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str | None = None,
    headers: HeaderFields = (),
    contact: str | None = None,
    body: bytes = b"",
) -> SipResponse:
    """Make a response to a request at hand; `body` is SDP."""
    return make_response(
        request,
        status,
        reason,
        to_tag=to_tag,
        headers=headers,
        contact=contact,
        body=body,
        content_type=SDP_TYPE,
    )


def rejection_response(request: SipRequest, rejected: Rejected, *, to_tag: str | None = None) -> SipResponse:
    """Make the response to a request that was rejected."""
    return response_to(request, rejected.status, rejected.reason, to_tag=to_tag, headers=rejected.headers)


def try_later(request: SipRequest, seconds: int) -> SipResponse:
    """Refuse a request that can be served once Redis is back: 500 with Retry-After."""
    return response_to(request, 500, to_tag=secrets.token_hex(8), headers=retry_after(seconds))


def retry_after(seconds: int) -> HeaderFields:
    """Make the Retry-After header of a 503 or 500."""
    return (("Retry-After", str(seconds)),)
