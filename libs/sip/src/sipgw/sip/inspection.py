"""The checks of a user agent server before it reads what a request means (RFC 3261 §8.2.1-8.2.3)."""

import re
from dataclasses import dataclass

from sipgw.sip.bodies import is_multipart
from sipgw.sip.grammar import TOKEN
from sipgw.sip.message import SipRequest, SipResponse
from sipgw.sip.methods import KNOWN
from sipgw.sip.responses import make_response


@dataclass(frozen=True, slots=True)
class UasCapabilities:
    """The methods, extensions, URI schemes and content types that this endpoint serves.

    `content_types` are those of INVITE, UPDATE and PRACK bodies, and of the parts of a multipart. The first
    is the type of our own bodies, so a caller whose Accept excludes it is refused.
    """

    methods: tuple[str, ...] = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS")
    extensions: tuple[str, ...] = ()
    uri_schemes: tuple[str, ...] = ("sip", "sips")
    content_types: tuple[str, ...] = ("application/sdp",)


_MEDIA_RANGE = re.compile(rf"{TOKEN.pattern}\s*/\s*{TOKEN.pattern}")
_OFFER_METHODS = frozenset({"INVITE", "UPDATE", "PRACK"})


def inspect_request(
    request: SipRequest, capabilities: UasCapabilities, *, to_tag: str | None = None
) -> SipResponse | None:
    """Return the response that refuses `request`, with the headers that say why; None to accept it.

    The checks stand in the RFC's order: method (405, or 501 when no RFC knows it), Request-URI scheme (416),
    Require (420), body type and encoding (415), Accept (406). ACK is never refused, and CANCEL has no Require
    (RFC 3261 §9.1).
    """
    if request.method == "ACK":
        return None
    refusal = _refuse_method(request, capabilities) or _refuse_head(request, capabilities)
    if refusal is None and request.method in _OFFER_METHODS:
        refusal = _refuse_content(request, capabilities)
    if refusal is None:
        return None
    status, headers = refusal
    return make_response(request, status, to_tag=to_tag, headers=headers)


_Refusal = tuple[int, list[tuple[str, str]]]


def _refuse_method(request: SipRequest, capabilities: UasCapabilities) -> _Refusal | None:
    if request.method in capabilities.methods:
        return None
    return (405 if request.method in KNOWN else 501), [("Allow", ", ".join(capabilities.methods))]


def _refuse_head(request: SipRequest, capabilities: UasCapabilities) -> _Refusal | None:
    if request.uri.scheme not in capabilities.uri_schemes:
        return 416, []
    known = {extension.lower() for extension in capabilities.extensions}
    unknown = [extension for extension in request.require if extension.lower() not in known]
    if unknown and request.method != "CANCEL":
        return 420, [("Unsupported", ", ".join(unknown))]
    return None


def _refuse_content(request: SipRequest, capabilities: UasCapabilities) -> _Refusal | None:
    accept = ", ".join(capabilities.content_types)
    encoding = request.headers.get("Content-Encoding")
    if request.body and encoding and encoding.lower() != "identity":
        return 415, [("Accept", accept), ("Accept-Encoding", "identity")]
    if request.body and is_multipart(request.content_type) and not request.parts:
        return 400, []
    if request.body and not _has_what_it_needs(request, capabilities):
        return 415, [("Accept", accept), ("Accept-Encoding", "identity")]
    if not _accepts(request, capabilities.content_types[0]):
        return 406, [("Accept", accept)]
    return None


def _has_what_it_needs(request: SipRequest, capabilities: UasCapabilities) -> bool:
    """Tell whether every part that its sender requires is of a type that we read (RFC 5621 §8).

    A body of one part is required unless it says otherwise. Of several parts, those are that say so.
    """
    if is_multipart(request.content_type):
        return not any(
            part.is_required and part.content_type not in (*capabilities.content_types, None)
            for part in request.parts
        )
    if request.content_type in (*capabilities.content_types, None):
        return True
    return "handling=optional" in (request.headers.get("Content-Disposition") or "").lower().replace(" ", "")


def _accepts(request: SipRequest, content_type: str) -> bool:
    """Return whether the Accept header allows a body of this type (RFC 3261 §20.1).

    Without an Accept header, or with one that cannot be read, SDP is allowed.
    """
    if "Accept" not in request.headers:
        return True
    accepted = {token.partition(";")[0].strip().lower() for token in request.tokens("Accept")}
    if not all(_MEDIA_RANGE.fullmatch(one) for one in accepted):
        return True
    return not accepted.isdisjoint({content_type, content_type.partition("/")[0] + "/*", "*/*"})
