"""Dialogs kept as records (ADR 0018), and our requests within them (RFC 3261 §12.2.1).

The rules of dialogs are in `sipgw.sip.dialog`. This module has only their use by the record.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip import (
    Address,
    Dialog,
    NameAddress,
    SipRequest,
    SipResponse,
    SipUri,
    Via,
    is_in_dialog,
    parse_uri,
    refreshed_target,
)
from sipgw.sip_edge.record.reinviting import SavedInvite
from sipgw.sip_edge.sip.admission import ALLOW, SDP_TYPE
from sipgw.sip_edge.sip.invite_records import address_of
from sipgw.sip_edge.sip.responses import HeaderFields
from sipgw.sip_edge.sip.second_way import SecondWay, Ways

DEFAULT_PORT = 5060


def dialog_record(invite: SipRequest, local_tag: str) -> calls.DialogState:
    """Make the record of the early dialog that our responses with `local_tag` make of `invite`."""
    dialog = Dialog.as_uas(invite, local_tag, early=True)
    return calls.DialogState(
        sip_call_id=dialog.call_id,
        local_tag=dialog.local_tag,
        remote_tag=dialog.remote_tag,
        local_uri=str(dialog.local_uri),
        remote_uri=str(dialog.remote_uri),
        remote_target=str(dialog.remote_target),
        route_set=[str(route) for route in dialog.route_set],
        local_cseq=dialog.local_cseq,
        remote_cseq=dialog.remote_cseq or 0,
        secure=dialog.secure,
        early=dialog.early,
    )


def dialog_of(state: calls.DialogState) -> Dialog:
    """Read the dialog of a record, to make requests within it."""
    return Dialog(
        call_id=state.sip_call_id,
        local_tag=state.local_tag,
        remote_tag=state.remote_tag,
        local_uri=NameAddress.parse_copied(state.local_uri),
        remote_uri=NameAddress.parse_copied(state.remote_uri),
        remote_target=parse_uri(state.remote_target),
        route_set=tuple(NameAddress.parse(route) for route in state.route_set),
        local_cseq=state.local_cseq,
        remote_cseq=state.remote_cseq,
        secure=state.secure,
        early=state.early,
    )


def is_of_dialog(state: calls.DialogState, request: SipRequest) -> bool:
    """Tell whether a request of the peer belongs to the dialog of a record."""
    return is_in_dialog(request, state.sip_call_id, state.local_tag, state.remote_tag)


def target_of(message: SipRequest | SipResponse) -> str:
    """Give the remote target that a message sets, as a record keeps it; empty: it sets none."""
    target = refreshed_target(message)
    return str(target) if target is not None else ""


@dataclass(slots=True)
class LocalContact:
    """The address at which peers reach this gateway.

    `host` changes with the config; requests and responses already sent keep the old one.
    """

    host: str
    port: int

    def take_host(self, host: str) -> None:
        """Replace the host from now on."""
        self.host = host

    def contact(self, call_id: str) -> str:
        """Make our Contact for a call. Its user part is the call id, so that any edge finds the call."""
        return f"<{self.uri(call_id)}>"

    def uri(self, call_id: str) -> str:
        """Make the URI of our Contact for a call."""
        return f"sip:{call_id}@{self._bracketed}:{self.port}"

    @property
    def via(self) -> Via:
        """Our Via without a branch, which the transaction layer adds."""
        return Via("UDP", self.host, self.port, {"rport": None})

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


Learn = Callable[[str, str], Awaitable[None]]
"""Notes in a call's record that its remote target does not respond, but the source of its INVITE does."""


class DialogRequests:
    """Send our requests within calls, with the CSeq that the record already has."""

    def __init__(self, ways: SecondWay, local: LocalContact, learn: Learn) -> None:
        self._ways = ways
        self._local = local
        self._learn = learn

    async def send(
        self,
        record: calls.CallSession,
        method: str,
        *,
        headers: HeaderFields = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> int:
        """Send a request with the record's `local_cseq` and give its final status.

        408: there was no response.
        """
        leg = record.legs[0]
        dialog = dialog_of(leg.dialog)
        request = dialog.request(
            method,
            leg.dialog.local_cseq,
            self._local.via,
            self._local.contact(record.call_id),
            body,
            content_type,
            headers=headers,
        )
        reply = await self._ways.request(request, ways_of(leg))
        if reply.by_second and method != "BYE":
            await self._learn(record.call_id, leg.dialog.remote_target)
        return reply.status


@dataclass(frozen=True, slots=True)
class OwnInvite:
    """A re-INVITE of ours, or its ACK, and its destination."""

    request: SipRequest
    ways: Ways


def own_invite(record: calls.CallSession, saved: SavedInvite, local: LocalContact) -> OwnInvite:
    """Make the re-INVITE whose CSeq, branch and offer the record has."""
    leg = record.legs[0]
    dialog = dialog_of(leg.dialog)
    request = dialog.request(
        "INVITE",
        saved.cseq,
        local.via.with_params(branch=saved.branch),
        local.contact(record.call_id),
        saved.offer,
        SDP_TYPE,
        headers=(ALLOW,),
    )
    return OwnInvite(request, ways_of(leg))


def own_ack(record: calls.CallSession, cseq: int, local: LocalContact, branch: str) -> OwnInvite:
    """Make the ACK of a 2xx to our re-INVITE, for the target that the 2xx named (RFC 3261 §13.2.2.4)."""
    leg = record.legs[0]
    dialog = dialog_of(leg.dialog)
    ack = dialog.ack(local.via.with_params(branch=branch), cseq)
    return OwnInvite(ack, ways_of(leg))


def ways_of(leg: calls.Leg) -> Ways:
    """Give the next hop of our requests, and the source of the INVITE as a second way.

    There is no second way around a proxy that the Route set names. A target that did not respond is passed
    over as long as the peer names no other.
    """
    dialog = dialog_of(leg.dialog)
    hop = next_hop_address(dialog, leg.invite.source)
    source = address_of(leg.invite.source)
    if dialog.route_set or hop == source:
        return Ways(hop)
    if leg.silent_target == leg.dialog.remote_target:
        return Ways(source)
    return Ways(hop, source)


def next_hop_address(dialog: Dialog, source: calls.Endpoint) -> Address:
    """Give the destination of our request: the next hop, or the source of the INVITE.

    The next hop is used if it is an IP address that can be reached. A caller behind NAT names a private
    address in its Contact; without a proxy in between, only the source of its INVITE reaches it. A host name
    in a Contact would need a resolver (RFC 3263), which this edge does not have, so such a request goes to
    the source too.
    """
    hop = dialog.next_hop
    fallback = Address(source.transport or "UDP", source.address, source.port)
    if not isinstance(hop, SipUri):
        return fallback
    try:
        address = ipaddress.ip_address(hop.host)
    except ValueError:
        return fallback
    if address.is_unspecified or address.is_multicast:
        return fallback
    if address.is_private and not ipaddress.ip_address(source.address).is_private:
        return fallback
    return Address("UDP", hop.host, hop.port or DEFAULT_PORT)
