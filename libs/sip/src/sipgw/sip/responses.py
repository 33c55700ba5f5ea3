"""Responses made from requests (RFC 3261 §8.2.6, §12.1.1)."""

from collections.abc import Iterable

from sipgw.sip.address import NameAddress
from sipgw.sip.errors import SipParseError
from sipgw.sip.headers import Headers
from sipgw.sip.message import SipRequest, SipResponse
from sipgw.sip.methods import DIALOG_CREATING
from sipgw.sip.status import reason_phrase

_COPIED_ONCE = frozenset({"From", "To", "Call-ID", "CSeq"})


def make_response(
    request: SipRequest,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    contact: NameAddress | str | None = None,
    body: bytes = b"",
    content_type: str | None = None,
) -> SipResponse:
    """Make a response with the request's Via, From, To, Call-ID and CSeq as they came.

    `to_tag` is added unless the request's To has a tag already; a 100 never gets one. Record-Route is copied
    into 101-299 of methods that make dialogs, Timestamp into a 100. The partial request of a SipParseError
    serves as well.
    """
    carries_route = 100 < status < 300 and request.method in DIALOG_CREATING
    items: list[tuple[str, str]] = []
    missing = set(_COPIED_ONCE)
    for name, value in request.headers:
        if name == "Via":
            items.append((name, value))
        elif name in missing:  # a malformed request may have two: take the first
            missing.remove(name)
            if name == "To" and to_tag and status > 100:
                value = tagged_to(request, to_tag)
            items.append((name, value))
        elif (name == "Record-Route" and carries_route) or (name == "Timestamp" and status == 100):
            items.append((name, value))
    if contact is not None:
        items.append(("Contact", str(contact)))
    result = Headers.from_lines(items)
    for name, value in headers:
        result.add(name, value)
    if body and content_type:
        result.add("Content-Type", content_type)
    return SipResponse(status, reason_phrase(status) if reason is None else reason, result, body)


def tagged_to(message: SipRequest | SipResponse, tag: str) -> str:
    """Return the To of a message as it came, with `tag` unless it has a tag (RFC 3261 §8.2.6.2)."""
    value = message.headers.get("To") or ""
    try:
        to = message.to
    except SipParseError:
        return value
    if "tag" in to.params:
        return value if to.tag else str(to.with_tag(tag))
    return f"{value.rstrip('; ')};tag={tag}"
