"""Requests that we make: new ones (RFC 3261 §8.1.1), and the ACK and CANCEL that belong to an INVITE."""

from collections.abc import Iterable

from sipgw.sip.address import NameAddress
from sipgw.sip.grammar import split_commas
from sipgw.sip.headers import Headers
from sipgw.sip.message import SipRequest, SipResponse
from sipgw.sip.uri import OtherUri, SipUri
from sipgw.sip.via import Via


def new_request(
    method: str,
    uri: SipUri | OtherUri,
    *,
    from_: NameAddress | str,
    to: NameAddress | str,
    call_id: str,
    cseq: int,
    via: Via | str,
    contact: NameAddress | str | None = None,
    max_forwards: int = 70,
    routes: Iterable[NameAddress | str] = (),
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    content_type: str | None = None,
) -> SipRequest:
    """Make a request with the mandatory headers. A Via without branch gets one from `send_request`."""
    result = Headers(
        [
            ("Via", str(via)),
            ("Max-Forwards", str(max_forwards)),
            *(("Route", str(route)) for route in routes),
            ("From", str(from_)),
            ("To", str(to)),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
    )
    if contact is not None:
        result.add("Contact", str(contact))
    for name, value in headers:
        result.add(name, value)
    if body and content_type:
        result.add("Content-Type", content_type)
    return SipRequest(method, uri, result, body)


def make_ack(invite: SipRequest, final_response: SipResponse) -> SipRequest:
    """Make the ACK of a 300-699 response, part of the INVITE's transaction (RFC 3261 §17.1.1.3)."""
    return _follow_up(invite, "ACK", to=final_response.headers.get("To") or "")


def make_cancel(invite: SipRequest) -> SipRequest:
    """Make the CANCEL of an INVITE that has had a provisional response (RFC 3261 §9.1)."""
    return _follow_up(invite, "CANCEL", to=invite.headers.get("To") or "")


def _follow_up(invite: SipRequest, method: str, *, to: str) -> SipRequest:
    headers = Headers(
        [
            ("Via", split_commas(invite.headers.get("Via") or "")[0]),
            ("Max-Forwards", "70"),
            *(("Route", line) for line in invite.headers.get_all("Route")),
            ("From", invite.headers.get("From") or ""),
            ("To", to),
            ("Call-ID", invite.call_id),
            ("CSeq", f"{invite.cseq.number} {method}"),
        ]
    )
    return SipRequest(method, invite.uri, headers)
