"""Dialogs as values (RFC 3261 §12): the state that two user agents share; each step gives the next one."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from sipgw.sip.address import NameAddress
from sipgw.sip.errors import OutOfOrder, SipParseError
from sipgw.sip.message import SipRequest, SipResponse
from sipgw.sip.methods import TARGET_REFRESH
from sipgw.sip.requests import new_request
from sipgw.sip.uri import OtherUri, SipUri
from sipgw.sip.via import Via


class DialogRole(Enum):
    """Our role in the dialog: UAC if we sent the request that made it, UAS if the peer did."""

    UAC = "uac"
    UAS = "uas"


class CSeqOrder(Enum):
    """The order of a peer's CSeq and the last one of its dialog (RFC 3261 §12.2.2)."""

    OUT_OF_ORDER = "out of order"
    REPEATED = "repeated"
    NEW = "new"


def cseq_order(number: int, last: int | None) -> CSeqOrder:
    """Compare a request's CSeq with the last of its dialog; None: the peer has sent no request yet."""
    if last is None or number > last:
        return CSeqOrder.NEW
    return CSeqOrder.REPEATED if number == last else CSeqOrder.OUT_OF_ORDER


def is_in_dialog(request: SipRequest, call_id: str, local_tag: str, remote_tag: str) -> bool:
    """Return whether a request of the peer belongs to the dialog with these ids (RFC 3261 §12.2.2)."""
    return (
        request.call_id == call_id
        and (request.to.tag or "") == local_tag
        and (request.from_.tag or "") == remote_tag
    )


def refreshed_target(message: SipRequest | SipResponse) -> SipUri | OtherUri | None:
    """Return the remote target that a message sets (RFC 3261 §12.2); None: the dialog keeps its target.

    That is the Contact of a target refresh or of a 2xx to one. A Contact of a 2xx that cannot be read sets
    none: the peer cannot be told, and the dialog has a target.
    """
    if message.cseq.method not in TARGET_REFRESH:
        return None
    if isinstance(message, SipResponse) and not message.is_success:
        return None
    try:
        contact = message.contact
    except SipParseError:
        return None
    return contact.uri if contact else None


@dataclass(frozen=True, slots=True)
class Dialog:
    """One dialog as we see it. `local_uri` and `remote_uri` have display names and no tag.

    `remote_tag` is "" for an RFC 2543 peer. `local_cseq` is the last number we used (0: none yet),
    `remote_cseq` the last one seen (None: none yet).
    """

    call_id: str
    local_tag: str
    remote_tag: str
    local_uri: NameAddress
    remote_uri: NameAddress
    remote_target: SipUri | OtherUri
    route_set: tuple[NameAddress, ...] = ()
    local_cseq: int = 0
    remote_cseq: int | None = None
    secure: bool = False
    early: bool = False
    role: DialogRole = DialogRole.UAS

    @classmethod
    def from_uas(cls, request: SipRequest, response: SipResponse) -> "Dialog":
        """Make the dialog from a peer's `request` and our `response`, a 101-299 with a To tag."""
        return cls.as_uas(request, response.to.tag or "", early=response.is_provisional)

    @classmethod
    def as_uas(cls, request: SipRequest, local_tag: str, *, early: bool) -> "Dialog":
        """Make the dialog of a `request` that we respond to with `local_tag` (RFC 3261 §12.1.1).

        A peer whose request has no Contact (RFC 2543) is reached at its From URI.
        """
        contact = request.contact
        remote = request.from_
        return cls(
            call_id=request.call_id,
            local_tag=local_tag,
            remote_tag=remote.tag or "",
            local_uri=request.to.with_tag(None),
            remote_uri=remote.with_tag(None),
            remote_target=contact.uri if contact else remote.uri,
            route_set=request.record_routes,
            local_cseq=0,
            remote_cseq=request.cseq.number,
            secure=_is_secure(request),
            early=early,
            role=DialogRole.UAS,
        )

    @classmethod
    def from_uac(cls, request: SipRequest, response: SipResponse) -> "Dialog":
        """Make the dialog from our `request` and the peer's `response`, a 101-299 (RFC 3261 §12.1.2)."""
        contact = response.contact
        local = request.from_
        return cls(
            call_id=request.call_id,
            local_tag=local.tag or "",
            remote_tag=response.to.tag or "",
            local_uri=local.with_tag(None),
            remote_uri=response.to.with_tag(None),
            remote_target=contact.uri if contact else request.uri,
            route_set=response.record_routes[::-1],
            local_cseq=request.cseq.number,
            remote_cseq=None,
            secure=_is_secure(request),
            early=response.is_provisional,
            role=DialogRole.UAC,
        )

    @property
    def next_hop(self) -> SipUri | OtherUri:
        """The URI to send requests to: first route, else remote target (RFC 3261 §8.1.2, §12.2.1.1)."""
        return self.route_set[0].uri if self.route_set else self.remote_target

    def next_request(
        self,
        method: str,
        via: Via | str,
        contact: NameAddress | str | None = None,
        body: bytes = b"",
        content_type: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        max_forwards: int = 70,
    ) -> "tuple[Dialog, SipRequest]":
        """Make a request within the dialog and return it with the dialog after it (RFC 3261 §12.2.1.1).

        The CSeq goes up by one. ACK and CANCEL are made by other functions.
        """
        dialog = replace(self, local_cseq=self.local_cseq + 1)
        request = dialog.request(
            method,
            dialog.local_cseq,
            via,
            contact,
            body,
            content_type,
            headers=headers,
            max_forwards=max_forwards,
        )
        return dialog, request

    def request(
        self,
        method: str,
        cseq: int,
        via: Via | str,
        contact: NameAddress | str | None = None,
        body: bytes = b"",
        content_type: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        max_forwards: int = 70,
    ) -> SipRequest:
        """Make a request within the dialog whose CSeq was counted and saved before (RFC 3261 §12.2.1.1)."""
        return _request_of(self, method, cseq, via, contact, body, content_type, headers, max_forwards)

    def ack(
        self,
        via: Via | str,
        cseq: int,
        body: bytes = b"",
        content_type: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
    ) -> SipRequest:
        """Make the ACK of a 2xx, outside of transactions (RFC 3261 §13.2.2.4).

        `cseq` is the INVITE's number.
        """
        return _request_of(self, "ACK", cseq, via, None, body, content_type, headers, 70)

    def receive(self, request: SipRequest) -> "Dialog":
        """Return the dialog after a request of the peer (RFC 3261 §12.2.2).

        Raise OutOfOrder for a CSeq lower than the last. An equal number passes: after a takeover the
        transaction that would absorb a copy is gone. ACK and CANCEL repeat the number of their INVITE and
        change nothing. A Contact in a target refresh moves the remote target.
        """
        if request.method in ("ACK", "CANCEL"):
            return self
        number = request.cseq.number
        if cseq_order(number, self.remote_cseq) is CSeqOrder.OUT_OF_ORDER:
            raise OutOfOrder(f"CSeq {number} after {self.remote_cseq}")
        return _retargeted(replace(self, remote_cseq=number), request)

    def confirmed(self, response: SipResponse) -> "Dialog":
        """Return the dialog after the 2xx to the INVITE that made it (RFC 3261 §13.2.2.4).

        A UAC takes the target and the route set of the 2xx; a UAS only stops being early.
        """
        if self.role is DialogRole.UAS:
            return replace(self, early=False)
        confirmed = replace(
            self,
            early=False,
            remote_tag=response.to.tag or "",
            route_set=response.record_routes[::-1],
        )
        return _retargeted(confirmed, response)

    def refreshed(self, response: SipResponse) -> "Dialog":
        """Return the dialog with the remote target of a 2xx to our target refresh (RFC 3261 §12.2.1.2)."""
        return _retargeted(self, response)

    def matches(self, message: SipRequest) -> bool:
        """Return whether a request of the peer belongs to this dialog (RFC 3261 §12.2.2)."""
        return is_in_dialog(message, self.call_id, self.local_tag, self.remote_tag)


def _request_uri(uri: SipUri | OtherUri) -> SipUri | OtherUri:
    return uri.without_headers() if isinstance(uri, SipUri) else uri


def _is_secure(request: SipRequest) -> bool:
    """Return whether a request over TLS has sips in its Request-URI (RFC 3261 §12.1.1)."""
    return request.uri.scheme == "sips" and request.via.transport == "TLS"


def _retargeted(dialog: Dialog, message: SipRequest | SipResponse) -> Dialog:
    target = refreshed_target(message)
    return replace(dialog, remote_target=target) if target is not None else dialog


def _request_of(
    dialog: Dialog,
    method: str,
    cseq: int,
    via: Via | str,
    contact: NameAddress | str | None,
    body: bytes,
    content_type: str | None,
    headers: Iterable[tuple[str, str]],
    max_forwards: int,
) -> SipRequest:
    uri, routes = _route(dialog)
    return new_request(
        method,
        uri,
        from_=dialog.local_uri.with_tag(dialog.local_tag),
        to=dialog.remote_uri.with_tag(dialog.remote_tag),
        call_id=dialog.call_id,
        cseq=cseq,
        via=via,
        contact=contact,
        max_forwards=max_forwards,
        routes=routes,
        headers=headers,
        body=body,
        content_type=content_type,
    )


def _route(dialog: Dialog) -> tuple[SipUri | OtherUri, list[NameAddress]]:
    """Choose Request-URI and Route headers (RFC 3261 §12.2.1.1).

    Strict routing applies when the first route has no lr, loose routing otherwise.
    """
    if not dialog.route_set:
        return _request_uri(dialog.remote_target), []
    first = dialog.route_set[0].uri
    if isinstance(first, SipUri) and not first.is_loose_router:
        return first.without_headers(), [*dialog.route_set[1:], NameAddress("", dialog.remote_target)]
    return _request_uri(dialog.remote_target), list(dialog.route_set)
