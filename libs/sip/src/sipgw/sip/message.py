"""Requests and responses.

A header is parsed when it is first read, once, and raises SipParseError(400) when it is malformed. Messages
that have passed `parse_message` never raise for Via, From, To, Call-ID, CSeq and Max-Forwards.
"""

from dataclasses import dataclass

from sipgw.sip import readings
from sipgw.sip.address import NameAddress
from sipgw.sip.bodies import BodyPart, parts_of
from sipgw.sip.headers import Headers
from sipgw.sip.readings import CSeq
from sipgw.sip.uri import OtherUri, SipUri
from sipgw.sip.via import Via


class SipMessage:
    """The base of requests and responses: headers read as typed values."""

    __slots__ = ()

    headers: Headers
    body: bytes

    @property
    def via(self) -> Via:
        """The top Via."""
        return self.headers.parsed("via", readings.top_via)

    @property
    def vias(self) -> tuple[Via, ...]:
        return self.headers.parsed("via:all", readings.vias)

    @property
    def from_(self) -> NameAddress:
        return self.headers.parsed("from", readings.from_)

    @property
    def to(self) -> NameAddress:
        return self.headers.parsed("to", readings.to)

    @property
    def call_id(self) -> str:
        return self.headers.parsed("call-id", readings.call_id)

    @property
    def cseq(self) -> CSeq:
        return self.headers.parsed("cseq", readings.cseq)

    @property
    def contacts(self) -> tuple[NameAddress, ...]:
        return self.headers.parsed("contact", readings.contacts)

    @property
    def contact(self) -> NameAddress | None:
        """The first Contact."""
        contacts = self.contacts
        return contacts[0] if contacts else None

    @property
    def max_forwards(self) -> int | None:
        return self.headers.parsed("max-forwards", readings.max_forwards)

    @property
    def routes(self) -> tuple[NameAddress, ...]:
        return self.headers.parsed("route", readings.routes)

    @property
    def route(self) -> NameAddress | None:
        """The first Route."""
        routes = self.routes
        return routes[0] if routes else None

    @property
    def record_routes(self) -> tuple[NameAddress, ...]:
        return self.headers.parsed("record-route", readings.record_routes)

    @property
    def content_type(self) -> str | None:
        """`type/subtype` in lower case, without parameters."""
        return self.headers.parsed("content-type", readings.content_type)

    @property
    def parts(self) -> tuple[BodyPart, ...]:
        """The parts of the body (RFC 5621); none for a malformed multipart."""
        return self.headers.parsed("content-type:parts", lambda headers: parts_of(headers, self.body))

    @property
    def sdp(self) -> bytes:
        """The session description in the body, alone or as a part; empty: there is none."""
        return next((part.body for part in self.parts if part.is_session), b"")

    @property
    def require(self) -> tuple[str, ...]:
        return self.tokens("Require")

    def tokens(self, name: str) -> tuple[str, ...]:
        """Return every value of a header that lists tokens."""
        return self.headers.parsed(f"{name.lower()}:tokens", lambda headers: readings.tokens(headers, name))

    def addresses(self, name: str) -> tuple[NameAddress, ...]:
        """Return every value of a header of addresses (P-Asserted-Identity, Diversion, Refer-To ...)."""
        return self.headers.parsed(
            f"{name.lower()}:addresses", lambda headers: readings.addresses(headers, name)
        )


@dataclass(frozen=True, slots=True)
class SipRequest(SipMessage):
    """A request. `body` is exactly Content-Length octets."""

    method: str
    uri: SipUri | OtherUri
    headers: Headers
    body: bytes = b""
    version: str = "SIP/2.0"


@dataclass(frozen=True, slots=True)
class SipResponse(SipMessage):
    """A response. `body` is exactly Content-Length octets."""

    status: int
    reason: str
    headers: Headers
    body: bytes = b""
    version: str = "SIP/2.0"

    @property
    def is_provisional(self) -> bool:
        return self.status < 200

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_failure(self) -> bool:
        return self.status >= 300
